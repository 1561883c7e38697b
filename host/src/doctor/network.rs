//! The way to a PBX: its name, its port, its certificate. Nothing is said to it beyond the handshake.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use jiff::Timestamp;
use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{Finding, certificate::Certificate};
use crate::{
    config::Transport,
    connectors::PlannedLink,
    links::{DialError, Target},
};

/// For each of the steps.
const PATIENCE: Duration = Duration::from_secs(5);
/// A certificate that ends sooner deserves a word.
const SOON_DAYS: i64 = 21;

/// Looks up, connects and shakes hands. True: this way is open.
pub(super) async fn examine(link: &PlannedLink) -> (Vec<Finding>, bool) {
    let mut findings = Vec::new();
    let open = walk(&link.name, &link.target, &mut findings).await.is_some();
    (findings, open)
}

/// None: it ends here, and a finding says why.
async fn walk(name: &str, target: &Target, findings: &mut Vec<Finding>) -> Option<()> {
    let host = target.url.host.as_str();
    let addresses = match resolve(host, target.port).await {
        Ok(addresses) => addresses,
        Err(error) => {
            findings.push(Finding::failure("dns", error.message, error.fix));
            return None;
        }
    };
    if host.parse::<IpAddr>().is_err() {
        let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        findings.push(Finding::ok("dns", format!("{host} is {}", list.join(", "))));
    }
    let stream = connect(target, &addresses, findings).await?;
    match (&target.tls, target.url.transport) {
        (Some(tls), _) => {
            let connector = tokio_rustls::TlsConnector::from(tls.clone());
            let server = ServerName::try_from(host.to_owned()).ok();
            let shaken = match server {
                Some(server) => timeout(PATIENCE, connector.connect(server, stream)).await.ok(),
                None => None,
            };
            match shaken {
                Some(Ok(session)) => {
                    let chain = session.get_ref().1.peer_certificates();
                    let certificate = chain.and_then(|chain| Certificate::read(chain.first()?));
                    let version = session.get_ref().1.protocol_version();
                    findings.push(trusted(version, certificate, Timestamp::now()));
                    Some(())
                }
                // The link itself knows how to explain what went wrong.
                _ => {
                    let error = target.dial().await.err().unwrap_or_else(|| DialError {
                        message: format!(
                            "the TLS handshake with {} fails now and then",
                            target.peer()
                        ),
                        fix: "look for what sits between here and the PBX".to_owned(),
                    });
                    let fix = error.fix.replace("links.<name>", &format!("links.{name}"));
                    findings.push(Finding::failure("tls", error.message, fix));
                    None
                }
            }
        }
        (None, Transport::Tls | Transport::Tcp) => {
            findings.push(unencrypted(target, &addresses));
            Some(())
        }
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    const FIX: &str = "correct the name in the link, add it to the DNS or /etc/hosts, or write the address itself";
    let failed = |message: String| DialError { message, fix: FIX.to_owned() };
    match timeout(PATIENCE, lookup_host((host, port))).await {
        Ok(Ok(found)) => {
            let mut found: Vec<SocketAddr> = found.collect();
            found.dedup();
            if found.is_empty() { Err(failed(format!("{host} has no address"))) } else { Ok(found) }
        }
        Ok(Err(error)) => Err(failed(format!("no address for {host}: {error}"))),
        Err(_) => Err(failed(format!(
            "no answer from the DNS about {host} within {} s",
            PATIENCE.as_secs()
        ))),
    }
}

async fn connect(
    target: &Target,
    addresses: &[SocketAddr],
    findings: &mut Vec<Finding>,
) -> Option<TcpStream> {
    let mut deaf = Vec::new();
    for address in addresses {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                findings.push(Finding::ok("tcp", format!("{address} accepts connections")));
                if !deaf.is_empty() {
                    findings.push(Finding::warning(
                        "tcp",
                        format!(
                            "other addresses of {} do not: {}",
                            target.url.host,
                            deaf.join("; ")
                        ),
                        "remove those addresses from the DNS, or let the PBX listen there too",
                    ));
                }
                return Some(stream);
            }
            Ok(Err(error)) => deaf.push(refusal(*address, &error)),
            Err(_) => {
                deaf.push(format!("{address} does not answer within {} s", PATIENCE.as_secs()))
            }
        }
    }
    let fix = format!(
        "start the PBX and let it listen there (Asterisk: manager.conf, section [general], enabled = yes, \
         {}); then look at firewalls between",
        match target.url.transport {
            Transport::Tcp => format!("bindaddr, port = {}", target.port),
            Transport::Tls => format!("tlsenable = yes, tlsbindaddr with port {}", target.port),
        }
    );
    findings.push(Finding::failure("tcp", deaf.join("; "), fix));
    None
}

fn refusal(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{address} refuses connections"),
        _ => format!("no connection to {address}: {error}"),
    }
}

fn trusted(
    version: Option<rustls::ProtocolVersion>,
    certificate: Option<Certificate>,
    now: Timestamp,
) -> Finding {
    let version = match version {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let Some(Certificate { names, issuer, not_after }) = certificate else {
        return Finding::ok("tls", format!("{version}, and its certificate is trusted"));
    };
    let until = not_after.strftime("%Y-%m-%d").to_string();
    let message = format!(
        "{version}; the certificate is for {}, by {issuer}, until {until}",
        names.join(", ")
    );
    let days = (not_after.as_second() - now.as_second()) / 86_400;
    if days < SOON_DAYS {
        let fix = "renew it on the PBX before that day; afterwards the link would be refused";
        return Finding::warning("tls", format!("{message}: {days} days left"), fix);
    }
    Finding::ok("tls", message)
}

fn unencrypted(target: &Target, addresses: &[SocketAddr]) -> Finding {
    if addresses.iter().all(|address| address.ip().is_loopback()) {
        return Finding::ok("tls", "not encrypted, and it does not leave this machine");
    }
    Finding::warning(
        "tls",
        format!(
            "not encrypted: whoever is on the way to {} can read every call's parties, and change them",
            target.url.host
        ),
        format!(
            "let the PBX offer TLS (Asterisk: manager.conf, tlsenable = yes, tlsbindaddr, tlscertfile), write \
             tls://{} into the link and remove allow_plaintext",
            target.url.host
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::LinkUrl, doctor::Level};

    fn target(url: &str) -> Target {
        Target { url: LinkUrl::parse(url).expect("a link"), port: 5038, tls: None }
    }

    #[test]
    fn plaintext_is_fine_at_home_and_warned_of_abroad() {
        let home = [SocketAddr::from(([127, 0, 0, 1], 5038))];
        let abroad = [home[0], SocketAddr::from(([192, 0, 2, 5], 5038))];
        assert_eq!(unencrypted(&target("tcp://pbx"), &home).level, Level::Ok);
        let warned = unencrypted(&target("tcp://pbx"), &abroad);
        assert_eq!(warned.level, Level::Warning);
        assert!(warned.fix.contains("tls://pbx"), "{warned:?}");
    }

    #[test]
    fn a_certificate_about_to_end_is_warned_of() {
        let of = |until: &str| {
            let not_after = until.parse().expect("a time");
            let certificate =
                Certificate { names: vec!["pbx".to_owned()], issuer: "us".to_owned(), not_after };
            let now = "2026-11-21T00:00:00Z".parse().expect("a time");
            trusted(Some(rustls::ProtocolVersion::TLSv1_3), Some(certificate), now)
        };
        assert_eq!(of("2027-11-21T00:00:00Z").level, Level::Ok);
        let soon = of("2026-12-01T00:00:00Z");
        assert_eq!(soon.level, Level::Warning);
        assert!(soon.message.contains("until 2026-12-01: 10 days left"), "{soon:?}");
    }

    #[tokio::test]
    async fn a_name_without_an_address_ends_the_way() {
        let mut findings = Vec::new();
        let end = walk("ami", &target("tcp://no-such-pbx.invalid"), &mut findings).await;
        assert!(end.is_none());
        assert_eq!((findings[0].check.as_str(), findings[0].level), ("dns", Level::Failure));
        assert!(findings[0].fix.contains("/etc/hosts"));
    }
}
