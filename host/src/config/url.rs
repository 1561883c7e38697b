//! Where a link goes: `tcp://host[:port]` or `tls://host[:port]`.

use std::{fmt, net::IpAddr};

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As they are.
    Tcp,
    /// Encrypted, and the peer's name checked.
    Tls,
}

impl Transport {
    /// As in URLs and manifests.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// Where an AMI listens when nobody says otherwise.
    pub fn usual_port(self) -> u16 {
        match self {
            Self::Tcp => 5038,
            Self::Tls => 5039,
        }
    }
}

/// A link's peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkUrl {
    /// How bytes travel.
    pub transport: Transport,
    /// A name or an address, without brackets.
    pub host: String,
    /// None: the plugin's default.
    pub port: Option<u16>,
}

impl LinkUrl {
    /// Reads a URL; the error is what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        const SHAPE: &str = "write tls://host, tcp://host or the same with :port";
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!(
                "{SHAPE}, e.g. \"tls://{}\"",
                if text.is_empty() { "pbx.example.org" } else { text }
            ));
        };
        let transport = match scheme {
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            _ => return Err(SHAPE.to_owned()),
        };
        if rest.contains('@') {
            return Err(
                "leave user and password out: the user name is a setting, the password a secret"
                    .to_owned(),
            );
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) =
            if let Some(bracketed) = rest.strip_prefix('[') {
                let Some((host, after)) = bracketed.split_once(']') else {
                    return Err("close the bracket of the IPv6 address: tls://[2001:db8::1]:5039"
                        .to_owned());
                };
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err("write an IPv6 address in the brackets: tls://[2001:db8::1]:5039"
                        .to_owned());
                }
                match after {
                    "" => (host, None),
                    _ => match after.strip_prefix(':') {
                        Some(port) => (host, Some(port)),
                        None => return Err(SHAPE.to_owned()),
                    },
                }
            } else {
                match rest.split_once(':') {
                    Some((_, port)) if port.contains(':') => {
                        return Err("put an IPv6 address into brackets: tls://[2001:db8::1]:5039"
                            .to_owned());
                    }
                    Some((host, port)) => (host, Some(port)),
                    None => (rest, None),
                }
            };
        let name_like = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        if host.is_empty() || host.len() > 253 || !host.bytes().all(name_like) {
            return Err(SHAPE.to_owned());
        }
        let port = match port {
            None => None,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return Err("write a port from 1 to 65535".to_owned()),
            },
        };
        Ok(Self { transport, host: host.to_owned(), port })
    }

    /// Is the peer on this machine?
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for LinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.transport.scheme())?;
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_reads_back_as_itself() {
        for url in [
            "tcp://127.0.0.1",
            "tls://pbx.example.org:5039",
            "tls://[2001:db8::1]:5039",
            "tcp://[::1]",
        ] {
            assert_eq!(LinkUrl::parse(url).expect(url).to_string(), url);
        }
        assert!(LinkUrl::parse("tcp://[::1]").is_ok_and(|url| url.is_loopback()));
        assert!(LinkUrl::parse("tcp://LocalHost:1").is_ok_and(|url| url.is_loopback()));
        assert!(!LinkUrl::parse("tcp://10.0.0.1").is_ok_and(|url| url.is_loopback()));
    }

    #[test]
    fn what_is_not_a_url_is_refused() {
        for wrong in [
            "",
            "pbx",
            "pbx:5038",
            "http://pbx",
            "tcp://",
            "tcp://:5038",
            "tcp://pbx:0",
            "tcp://pbx:99999",
            "tcp://pbx:",
            "tcp://a:b@pbx",
            "tcp://2001:db8::1",
            "tcp://[::1",
            "tcp://[pbx]",
            "tcp://[::1]5038",
            "tcp://pbx/path",
            "tcp://p bx",
            "tcp://pbx\r\n",
        ] {
            assert!(LinkUrl::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
