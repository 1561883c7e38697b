//! Answers of REST that are not events.
