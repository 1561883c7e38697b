//! `http` and `https` URLs, read so that there is no doubt about whom they name.

use std::net::{IpAddr, Ipv6Addr};

use super::FetchError;

/// Longer ones nobody needs.
const MAX_URL_BYTES: usize = 4096;
const MAX_HOST_BYTES: usize = 253;

/// A URL without user, password and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub secure: bool,
    /// In lower case; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// With the query; begins with `/`.
    pub path: String,
}

impl Url {
    pub fn parse(text: &str) -> Result<Self, FetchError> {
        if text.len() > MAX_URL_BYTES {
            return Err(bad("it is longer than 4096 bytes"));
        }
        // A backslash is a slash to some and not to others; so is a space an end.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(bad("it holds characters that must be percent-encoded"));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(bad("only http and https are spoken")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(bad("it holds a user or a password; send a header instead"));
        }
        let (host, port) = host_and_port(authority)?;
        let tail = tail.split('#').next().unwrap_or_default();
        let path = if tail.starts_with('/') { tail.to_owned() } else { format!("/{tail}") };
        let usual = if secure { 443 } else { 80 };
        Ok(Self { secure, host, port: port.unwrap_or(usual), path })
    }

    /// Where a redirect from here leads.
    pub fn join(&self, location: &str) -> Result<Self, FetchError> {
        let scheme = if self.secure { "https" } else { "http" };
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let has_scheme =
            location.split_once(':').is_some_and(|(scheme, _)| scheme.chars().all(is_scheme));
        if has_scheme {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = match location.as_bytes().first() {
            None | Some(b'#') => self.path.clone(),
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{path}{location}"),
            Some(_) => format!("{folder}/{location}"),
        };
        Self::parse(&format!("{scheme}://{}{path}", self.authority()))
    }

    /// As in the header `Host`.
    pub fn authority(&self) -> String {
        let host = match self.address() {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// The host, when it is an address as it stands.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whom a header with a password was meant for.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        (self.secure, self.port, &self.host) == (other.secure, other.port, &other.host)
    }
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), FetchError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or_else(|| bad("a `[` without its `]`"))?;
        // Parsed and written anew, so that one address has one spelling. No zones: they name this machine's links.
        let address: Ipv6Addr = inside.parse().map_err(|_| bad("no IPv6 address in the `[]`"))?;
        match after.strip_prefix(':') {
            Some(port) => (address.to_string(), Some(port)),
            None if after.is_empty() => (address.to_string(), None),
            None => return Err(bad("something between `]` and the port")),
        }
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || host.len() > MAX_HOST_BYTES || !host.chars().all(is_name) {
            return Err(bad("its host is no name and no address"));
        }
        (host.to_ascii_lowercase(), port)
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = digits.parse().ok().filter(|port| *port != 0);
            Some(port.ok_or_else(|| bad("its port is none"))?)
        }
        Some(_) => return Err(bad("its port is none")),
    };
    Ok((host, port))
}

fn bad(problem: &'static str) -> FetchError {
    FetchError::BadUrl { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &Url) -> String {
        format!("{} {} {} {}", url.secure, url.host, url.port, url.path)
    }

    #[test]
    fn a_url_is_taken_apart() {
        for (text, parts) in [
            ("https://crm.example.org/x?y=1#z", "true crm.example.org 443 /x?y=1"),
            ("HTTP://CRM.Example.org:8080", "false crm.example.org 8080 /"),
            ("http://crm.example.org?q", "false crm.example.org 80 /?q"),
            ("http://[::FFFF:169.254.169.254]/", "false ::ffff:169.254.169.254 80 /"),
            ("http://[2001:DB8:0::1]:81/", "false 2001:db8::1 81 /"),
        ] {
            assert_eq!(shown(&Url::parse(text).expect(text)), parts);
        }
    }

    #[test]
    fn a_doubtful_url_is_none() {
        for doubtful in [
            "",
            "crm.example.org",
            "ftp://crm.example.org/",
            "file:///etc/passwd",
            "https://",
            "https:///x",
            "https://user@crm.example.org/",
            "https://crm.example.org:443@evil.example/",
            "https://crm.example.org\\@evil.example/",
            "https://crm.example.org /",
            "https://crm.example.org/\r\nHost: evil.example",
            "https://crm.example.org:0/",
            "https://crm.example.org:+80/",
            "https://crm.example.org:65536/",
            "https://crm.example.org:/",
            "https://[::1/",
            "https://[fe80::1%25eth0]/",
            "https://[::1]80/",
            "https://crm.ex\u{e4}mple.org/",
            "https://crm%2eexample.org/",
        ] {
            assert!(Url::parse(doubtful).is_err(), "{doubtful}");
        }
        assert!(Url::parse(&format!("http://crm.example.org/{}", "x".repeat(4096))).is_err());
    }

    #[test]
    fn a_redirect_leads_where_a_browser_would_go() {
        let from = Url::parse("https://crm.example.org:8443/a/b?c").expect("a URL");
        for (location, to) in [
            ("http://other.example/x", "false other.example 80 /x"),
            ("//other.example/x", "true other.example 443 /x"),
            ("/x?y", "true crm.example.org 8443 /x?y"),
            ("x", "true crm.example.org 8443 /a/x"),
            ("?y", "true crm.example.org 8443 /a/b?y"),
            ("#z", "true crm.example.org 8443 /a/b?c"),
            ("/x:y", "true crm.example.org 8443 /x:y"),
        ] {
            assert_eq!(shown(&from.join(location).expect(location)), to);
        }
        for location in ["file:///etc/passwd", "javascript:alert(1)", "gopher://127.0.0.1:25/x"] {
            assert!(from.join(location).is_err(), "{location}");
        }
    }

    #[test]
    fn the_host_header_names_no_usual_port() {
        for (text, authority) in [
            ("https://crm.example.org:443/", "crm.example.org"),
            ("https://crm.example.org:80/", "crm.example.org:80"),
            ("http://[::1]:8080/", "[::1]:8080"),
        ] {
            assert_eq!(Url::parse(text).expect(text).authority(), authority);
        }
    }
}
