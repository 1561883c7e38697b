//! Q.850 causes as SIP statuses (RFC 3398 §8.2.6.1).

use rsip::StatusCode;

/// The SIP status that says the same as this ITU-T Q.850 cause value, for a call that was not answered.
///
/// `None` for 16 (normal clearing, which is a BYE and no status) and for values the RFC does not name.
pub fn status_for_q850(cause: u16) -> Option<StatusCode> {
    Some(match cause {
        1..=3 | 26 => StatusCode::NotFound,
        17 => StatusCode::BusyHere,
        18 => StatusCode::RequestTimeout,
        19 | 20 | 31 => StatusCode::TemporarilyUnavailable,
        21 | 55 | 57 | 87 => StatusCode::Forbidden,
        22 | 23 => StatusCode::Gone,
        27 => StatusCode::BadGateway,
        28 => StatusCode::AddressIncomplete,
        29 | 79 => StatusCode::NotImplemented,
        34 | 38 | 41 | 42 | 47 | 58 | 88 => StatusCode::ServiceUnavailable,
        65 | 70 => StatusCode::NotAcceptableHere,
        102 => StatusCode::ServerTimeOut,
        111 | 127 => StatusCode::ServerInternalError,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_map_as_rfc_3398_says() {
        let rows = [
            (1, 404),
            (17, 486),
            (18, 408),
            (19, 480),
            (21, 403),
            (27, 502),
            (28, 484),
            (34, 503),
            (65, 488),
            (102, 504),
            (127, 500),
        ];
        for (cause, status) in rows {
            assert_eq!(status_for_q850(cause).map(|s| s.code()), Some(status), "cause {cause}");
        }
    }

    #[test]
    fn normal_clearing_is_no_status() {
        assert_eq!(status_for_q850(16), None);
        assert_eq!(status_for_q850(0), None);
    }
}
