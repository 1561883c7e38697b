//! Which files of a project were saved since the last look. A look reads times, no contents.
