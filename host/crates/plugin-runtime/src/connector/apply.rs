//! What a step's actions bring about. Here, and only here, grants are checked.

use std::time::Duration;

use calls::event::{CommandEnd, Problem};

use super::Connector;
use crate::{
    Effect, Incident, Outcome, Part, Retry, SecretForm,
    bindings::types::{self, Action},
    convert::{self, Nonsense, code, cut},
    hooks::{MAX_SECRET_HEADERS, SecretHeader, header_name, header_value},
};

/// Refusals that are reported one by one within one call; the others are only counted.
const MAX_REPORTED: usize = 32;
/// More brackets than this nobody needs; the oldest is forgotten.
const MAX_BRACKETS: usize = 16;
pub(super) const MAX_OPEN_REQUESTS: usize = 256;
/// A request beyond the rate is answered after this: who asks again at once shall not become our only work.
const REFUSED_AFTER: Duration = Duration::from_secs(1);
const MAX_HTTP_TIMEOUT: Duration = Duration::from_secs(60);

impl Connector {
    /// Applies actions in order. What makes no sense is left out and reported.
    pub(super) fn apply(&mut self, actions: Vec<Action>, out: &mut Outcome) {
        out.effects.reserve(actions.len());
        for action in actions {
            match self.effect(action, out) {
                Ok(Some(effect)) => out.effects.push(effect),
                Ok(None) => {}
                Err(Nonsense(what)) => self.refuse(what, out),
            }
        }
    }

    pub(super) fn refuse(&mut self, what: String, out: &mut Outcome) {
        self.usage.refused += 1;
        let reported =
            out.incidents.iter().filter(|i| matches!(i, Incident::Refused { .. })).count();
        if reported < MAX_REPORTED {
            out.incidents.push(Incident::Refused { what });
        }
    }

    fn effect(&mut self, action: Action, out: &mut Outcome) -> Result<Option<Effect>, Nonsense> {
        Ok(Some(match action {
            Action::Consumed(consumed) => {
                self.link(&consumed.link)?.consume(consumed.offset)?;
                return Ok(None);
            }
            Action::Send(send) => return self.send(send),
            Action::Event(event) => {
                self.usage.events += 1;
                self.numbers.hear(&event.fact);
                Effect::Fact {
                    at_pbx: event.at_pbx_ns.map(calls::Timestamp),
                    fact: convert::fact(event.fact)?,
                }
            }
            Action::CommandOutcome(outcome) => {
                // It was given to a version that was rolled back, and is over.
                if self.let_go.remove(&outcome.id) && !self.commands.contains_key(&outcome.id) {
                    return Ok(None);
                }
                self.command_outcome(outcome, out)?
            }
            Action::ResyncBegin(begin) => {
                let (id, scope) = (begin.id, cut(begin.scope));
                if self.brackets.contains(&id) {
                    return Err(Nonsense(format!("resync {id} began twice")));
                }
                if self.brackets.len() == MAX_BRACKETS {
                    self.brackets.remove(0);
                }
                self.void_brackets.remove(&id);
                self.brackets.push(id);
                Effect::ResyncBegin { id, scope }
            }
            Action::ResyncItem(item) => {
                if self.void_brackets.contains(&item.id) {
                    return Ok(None);
                }
                if !self.brackets.contains(&item.id) {
                    return Err(Nonsense(format!(
                        "an item of resync {}, which is not open",
                        item.id
                    )));
                }
                self.usage.events += 1;
                self.numbers.hear(&item.fact);
                Effect::ResyncItem { id: item.id, fact: convert::fact(item.fact)? }
            }
            Action::ResyncEnd(id) => {
                if self.void_brackets.remove(&id) {
                    return Ok(None);
                }
                let before = self.brackets.len();
                self.brackets.retain(|&open| open != id);
                if self.brackets.len() == before {
                    return Err(Nonsense(format!("the end of resync {id}, which is not open")));
                }
                Effect::ResyncEnd { id }
            }
            Action::WakeAt(at) => {
                self.wake_at = (at != 0).then(|| Duration::from_nanos(at));
                return Ok(None);
            }
            Action::HttpRequest(request) => return self.http_request(request),
            Action::Close(close) => {
                let retry = match close.retry.as_str() {
                    "slow" => Retry::Slow,
                    "never-until-config-change" => Retry::NeverUntilConfigChange,
                    _ => Retry::Normal,
                };
                if !self.link(&close.link)?.close() {
                    return Ok(None);
                }
                Effect::Close { link: close.link, reason: cut(close.reason), retry }
            }
            Action::Other(other) => {
                return Err(Nonsense(format!(
                    "an action `{}`, which this host does not know",
                    cut(other.kind)
                )));
            }
        }))
    }

    fn link(&mut self, name: &str) -> Result<&mut super::links::Link, Nonsense> {
        self.links.get_mut(name).ok_or_else(|| {
            Nonsense(format!("link `{}`, which is not configured", cut(name.to_owned())))
        })
    }

    fn send(&mut self, send: types::Send) -> Result<Option<Effect>, Nonsense> {
        let link = self.link(&send.link)?;
        if link.open_epoch() != Some(send.epoch) {
            self.usage.stale_sends += 1;
            return Ok(None);
        }
        convert::bounded("parts", &send.parts)?;
        let parts: Vec<Part> =
            send.parts.into_iter().map(convert::part).collect::<Result<_, _>>()?;
        for part in &parts {
            let Part::Secret { form, .. } = part else { continue };
            if !link.request.secrets.iter().any(|asked| asked == form.code()) {
                return Err(Nonsense(format!(
                    "a secret as {} on link `{}`; the manifest does not ask for that form",
                    form.code(),
                    send.link
                )));
            }
            if *form == SecretForm::Plain {
                link.count_plain()?;
            }
        }
        Ok(Some(Effect::Send { link: send.link, parts }))
    }

    fn command_outcome(
        &mut self,
        outcome: types::CommandOutcome,
        out: &mut Outcome,
    ) -> Result<Effect, Nonsense> {
        let id = outcome.id;
        if self.commands.remove(&id).is_none() {
            return Err(Nonsense(format!(
                "an outcome of command {id}, which is over or was never given"
            )));
        }
        let problem = outcome.error.map(convert::problem);
        // The command has its one outcome even if parts of it are nonsense.
        let detail = convert::detail(outcome.detail).unwrap_or_else(|Nonsense(what)| {
            self.refuse(format!("command {id}: {what}"), out);
            String::new()
        });
        Ok(match outcome.outcome.as_str() {
            "done" | "failed" | "rejected" | "unknown" => {
                Effect::CommandOutcome { id, end: code(outcome.outcome), problem, detail }
            }
            _ => {
                let message =
                    format!("the plugin ended it as `{}`, which is no end", cut(outcome.outcome));
                self.refuse(format!("command {id}: {message}"), out);
                let problem = Problem { code: "plugin-nonsense".into(), message, retryable: false };
                Effect::CommandOutcome {
                    id,
                    end: CommandEnd::Unknown,
                    problem: Some(problem),
                    detail,
                }
            }
        })
    }

    fn secret_headers(
        &self,
        headers: Vec<types::SecretHeader>,
    ) -> Result<Vec<SecretHeader>, Nonsense> {
        if headers.len() > MAX_SECRET_HEADERS {
            let count = headers.len();
            return Err(Nonsense(format!(
                "{count} headers with secrets; at most {MAX_SECRET_HEADERS}"
            )));
        }
        let header = |header: types::SecretHeader| {
            let secret = convert::part(types::Part::Secret(header.secret))?;
            self.may_send(&secret)?;
            let name = header_name(header.name).map_err(Nonsense)?;
            let before = header_value(header.before).map_err(Nonsense)?;
            Ok(SecretHeader { name, before, secret })
        };
        headers.into_iter().map(header).collect()
    }

    /// A secret in a request needs the manifest's word and the admin's.
    fn may_send(&self, part: &Part) -> Result<(), Nonsense> {
        let Part::Secret { name, form, .. } = part else { return Ok(()) };
        let manifest = self.seed.plugin.manifest();
        manifest.may_send_secret(name, *form, &self.seed.grants).map_err(Nonsense)
    }

    /// Is there room for one more request in this minute?
    fn may_request(&mut self) -> bool {
        let minute = &mut self.http_minute;
        if self.clock.saturating_sub(minute.began) >= Duration::from_secs(60) {
            *minute = Minute { began: self.clock, requests: 0 };
        }
        let fits = minute.requests < self.seed.limits.http_per_minute;
        minute.requests += u32::from(fits);
        fits
    }

    fn http_request(&mut self, request: types::HttpRequest) -> Result<Option<Effect>, Nonsense> {
        let host = host_of(&request.url).ok_or_else(|| {
            // The URL itself may hold a password.
            Nonsense("a request whose URL names no host by http or https".to_owned())
        })?;
        if !self.http_hosts.iter().any(|granted| granted == host) {
            return Err(Nonsense(format!("a request to `{host}`, which is not granted")));
        }
        if self.http_open.len() >= MAX_OPEN_REQUESTS {
            return Err(Nonsense(format!("a request while {MAX_OPEN_REQUESTS} others are open")));
        }
        let headers = convert::attributes(request.headers)?;
        let secret_headers = self.secret_headers(request.secret_headers)?;
        convert::bounded("parts", &request.body)?;
        let body: Vec<Part> =
            request.body.into_iter().map(convert::part).collect::<Result<_, _>>()?;
        let secrets = body.iter().filter(|part| matches!(part, Part::Secret { .. })).count();
        if secrets > MAX_SECRET_HEADERS {
            return Err(Nonsense(format!(
                "{secrets} secrets in a body; at most {MAX_SECRET_HEADERS}"
            )));
        }
        body.iter().try_for_each(|part| self.may_send(part))?;
        if !self.http_open.insert(request.id) {
            return Err(Nonsense(format!("a second request with the id {}", request.id)));
        }
        self.usage.http_requests += 1;
        if !self.may_request() {
            self.usage.http_refused += 1;
            self.http_refused.push_back((self.clock + REFUSED_AFTER, request.id));
            return Ok(None);
        }
        Ok(Some(Effect::HttpRequest {
            id: request.id,
            method: cut(request.method),
            headers,
            secret_headers,
            url: request.url,
            body,
            timeout: Duration::from_millis(request.timeout_ms.into()).min(MAX_HTTP_TIMEOUT),
        }))
    }
}

/// Requests within the present minute.
#[derive(Default)]
pub(super) struct Minute {
    began: Duration,
    requests: u32,
}

/// The host of an `http` or `https` URL as it would be dialled; none if there is any doubt.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = authority.split_once(':').unwrap_or((authority, "0"));
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let fits = url.len() <= convert::MAX_TEXT
        && !host.is_empty()
        && host.chars().all(is_name)
        && port.parse::<u16>().is_ok();
    fits.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn the_host_of_a_url_is_sure_or_none() {
        assert_eq!(host_of("https://crm.example.org/x?y"), Some("crm.example.org"));
        assert_eq!(host_of("http://crm.example.org:8080"), Some("crm.example.org"));
        for doubtful in [
            "ftp://crm.example.org",
            "https://crm.example.org@evil.example",
            "https://user:1@evil.example",
            "https://crm.example.org\\@evil.example",
            "https://",
            "crm.example.org",
        ] {
            assert_eq!(host_of(doubtful), None, "{doubtful}");
        }
    }
}
