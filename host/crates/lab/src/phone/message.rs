//! SIP messages as this phone needs them: read leniently, written plainly.

/// A request or a response.
#[derive(Debug, Clone)]
pub(super) struct Message {
    start: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Message {
    pub fn parse(datagram: &[u8]) -> Option<Message> {
        let text = String::from_utf8_lossy(datagram);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Some(Message { start, headers, body: body.to_owned() })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()
    }

    /// The method of a request, or of the request that a response answers.
    pub fn method(&self) -> &str {
        match self.status() {
            Some(_) => self.header("CSeq").and_then(|cseq| cseq.split(' ').nth(1)).unwrap_or(""),
            None => self.start.split(' ').next().unwrap_or(""),
        }
    }

    pub fn cseq(&self) -> Option<u32> {
        self.header("CSeq")?.split(' ').next()?.parse().ok()
    }

    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or("")
    }

    /// The branch of the topmost Via, which names the transaction (RFC 3261 §17.1.3).
    pub fn branch(&self) -> Option<&str> {
        parameter(self.header("Via")?, "branch")
    }

    /// The address of the Contact.
    pub fn contact(&self) -> Option<&str> {
        let contact = self.header("Contact")?;
        Some(match contact.split_once('<') {
            Some((_, rest)) => rest.split('>').next()?,
            None => contact.split(';').next()?,
        })
    }

    /// A response to this request.
    pub fn response(&self, status: u16, phrase: &str, to_tag: &str, contact: &str) -> Draft {
        let mut draft = Draft::new(format!("SIP/2.0 {status} {phrase}"));
        for (name, value) in &self.headers {
            match name.to_ascii_lowercase().as_str() {
                "via" | "record-route" | "from" | "call-id" | "cseq" => draft.header(name, value),
                "to" if parameter(value, "tag").is_none() => {
                    draft.header(name, &format!("{value};tag={to_tag}"))
                }
                "to" => draft.header(name, value),
                _ => continue,
            };
        }
        draft.header("Contact", contact);
        draft
    }
}

/// The value of `;name=value`.
pub(super) fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').skip(1).find_map(|part| {
        let (found, value) = part.split_once('=')?;
        (found.trim() == name).then(|| value.trim_end_matches('>').trim())
    })
}

/// A message being written.
#[derive(Debug, Clone)]
pub(super) struct Draft(String);

impl Draft {
    pub fn new(start: String) -> Draft {
        Draft(start + "\r\n")
    }

    pub fn header(&mut self, name: &str, value: &str) -> &mut Draft {
        self.0 += &format!("{name}: {value}\r\n");
        self
    }

    pub fn finish(self) -> String {
        self.0 + "Content-Length: 0\r\n\r\n"
    }

    pub fn finish_with(mut self, sdp: &str) -> String {
        self.header("Content-Type", "application/sdp");
        format!("{}Content-Length: {}\r\n\r\n{sdp}", self.0, sdp.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_repeats_what_names_the_transaction() {
        let request = "BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: <sip:x@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 7 BYE\r\nMax-Forwards: 70\r\n\r\n";
        let request = Message::parse(request.as_bytes()).expect("is a message");
        assert_eq!(
            (request.method(), request.cseq(), request.branch()),
            ("BYE", Some(7), Some("z9hG4bK1"))
        );
        let response = request.response(200, "OK", "2", "<sip:a@c>").finish();
        assert_eq!(
            response,
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: <sip:x@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 7 BYE\r\nContact: <sip:a@c>\r\nContent-Length: 0\r\n\r\n"
        );
    }
}
