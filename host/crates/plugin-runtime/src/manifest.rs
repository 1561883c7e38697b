//! The manifest: what a plugin says about itself, embedded in its own binary.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Kind, secret::SecretForm};

/// The custom section that holds the manifest as JSON.
pub const MANIFEST_SECTION: &str = "jackfield:manifest";

const MAX_MANIFEST: usize = 256 << 10;
const MAX_LINKS: usize = 16;
const MAX_FRAME: u32 = 16 << 20;
const MAX_HTTP: usize = 64;
const MAX_HOOKS: usize = 16;
const MAX_SECRETS: usize = 16;
const MAX_REASON: usize = 500;
const MAX_DESCRIPTION: usize = 2000;
/// The plugin API this host speaks.
const API: &str = "0.1";
/// Hooks there are.
const HOOKS: [Kind; 3] = [Kind::Router, Kind::WaitTreatment, Kind::Observer];
/// In which forms a secret can be put into a request.
const SECRET_FORMS: [SecretForm; 3] =
    [SecretForm::Plain, SecretForm::Basic, SecretForm::HmacSha256Hex];

/// What a plugin says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What configs call it: lower-case letters, digits and `-`, beginning with a letter.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its version, e.g. `0.1.0`.
    pub version: String,
    /// Who made it.
    pub author: String,
    /// SPDX expression.
    pub license: String,
    /// One sentence.
    pub description: String,
    /// JSON Schema of its settings.
    #[serde(default = "any_settings")]
    pub settings: serde_json::Value,
    /// The links it can use.
    #[serde(default)]
    pub links: Vec<LinkRequest>,
    /// Hosts it wants to send HTTP requests to.
    #[serde(default)]
    pub http: Vec<HttpRequest>,
    /// Secrets it wants put into the requests it sends; those of links are named there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRequest>,
    /// The plugin API it is written for: `0.1`. What its exports prove counts more.
    #[serde(default = "this_api")]
    pub api: String,
    /// Hooks it wants to be called for.
    #[serde(default)]
    pub hooks: Vec<HookRequest>,
}

/// What a manifest writes for a host that only the admin can know: of their CRM, of their webhook's receiver.
const ANY_HOST: &str = "*";

/// A host a plugin wants to send HTTP requests to; a manifest may also give the host's name alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "HttpText")]
pub struct HttpRequest {
    /// E.g. `crm.example.org`; `*` for one that the admin names in a grant, and nobody else.
    pub host: String,
    /// What for, in plain words.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HttpText {
    Host(String),
    Full(HttpFields),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpFields {
    host: String,
    #[serde(default)]
    reason: String,
}

impl From<HttpText> for HttpRequest {
    fn from(text: HttpText) -> Self {
        match text {
            HttpText::Host(host) => Self { host, reason: String::new() },
            HttpText::Full(HttpFields { host, reason }) => Self { host, reason },
        }
    }
}

/// A secret a plugin wants put into requests that it sends. It never sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    /// Its name in the instance's `secrets`, and in the grant `secret:NAME`.
    pub name: String,
    /// In which forms: `plain`, `basic`, `hmac-sha256-hex`.
    pub forms: Vec<String>,
    /// What for, in plain words.
    #[serde(default)]
    pub reason: String,
}

/// A hook a plugin wants to be called for. What it exports counts more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookRequest {
    /// `router`, `wait-treatment` or `observer`.
    pub kind: String,
    /// Where it would like to stand among others, small numbers first. The admin's order counts.
    #[serde(default)]
    pub priority: i32,
}

/// Something a plugin asks for and an admin grants or declines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// What goes into `grants`: `link:ami`, `plain:ami`, `http:crm.example.org`, `secret:crm`.
    pub grant: String,
    /// Why the plugin wants it, in its own words; empty when it does not say.
    pub reason: String,
    /// What granting it allows, in ours.
    pub meaning: String,
}

/// A link a plugin asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// What config and grants call it, e.g. `ami`.
    pub name: String,
    /// `tcp`, `tls`.
    pub transports: Vec<String>,
    /// Without it the connector is of no use.
    #[serde(default)]
    pub required: bool,
    /// Port by transport, when the config names none.
    #[serde(default, alias = "default-port")]
    pub default_port: BTreeMap<String, u16>,
    /// Longest frame in bytes: what may stay unconsumed.
    #[serde(alias = "max-frame")]
    pub max_frame: u32,
    /// The forms in which it wants secrets put into what it sends, e.g. `md5-hex`.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// What it needs the link for, in plain words.
    #[serde(default)]
    pub reason: String,
    /// Why a secret has to be sent in the clear, when `plain` is among the forms.
    #[serde(default)]
    pub plain_reason: String,
}

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is none.
    #[error(
        "the plugin has no manifest; put one into the custom section `jackfield:manifest` \
         (SDK: `register_connector!(.., manifest = \"manifest.json\")`)"
    )]
    Missing,
    /// There are several.
    #[error("the plugin has {0} sections `jackfield:manifest`; keep one")]
    Several(usize),
    /// Too large.
    #[error("the manifest has {0} bytes; at most {MAX_MANIFEST} are read")]
    TooLarge(usize),
    /// Not what a manifest is.
    #[error("the manifest cannot be read: {0}; see the SDK's manifest.json")]
    Json(#[from] serde_json::Error),
    /// A field has a value it cannot have.
    #[error("the manifest's `{field}` is wrong: {problem}")]
    Field {
        /// Dotted path.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

fn this_api() -> String {
    API.to_owned()
}

fn any_settings() -> serde_json::Value {
    serde_json::json!({ "type": "object" })
}

impl Manifest {
    /// Reads a manifest as it lies in the custom section.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        if json.len() > MAX_MANIFEST {
            return Err(ManifestError::TooLarge(json.len()));
        }
        let manifest: Self = serde_json::from_slice(json)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The link of that name.
    pub fn link(&self, name: &str) -> Option<&LinkRequest> {
        self.links.iter().find(|link| link.name == name)
    }

    /// Everything it asks for.
    pub fn permissions(&self) -> Vec<Permission> {
        let links = self.links.iter().map(LinkRequest::permission);
        let plain = self.links.iter().filter_map(LinkRequest::plain_permission);
        let http = self.http.iter().map(HttpRequest::permission);
        let secrets = self.secrets.iter().map(SecretRequest::permission);
        links.chain(plain).chain(http).chain(secrets).collect()
    }

    /// May this secret be put into a request, in this form, with these grants? The text says what is missing.
    pub fn may_send_secret(
        &self,
        name: &str,
        form: SecretForm,
        grants: &[String],
    ) -> Result<(), String> {
        let Some(request) = self.secrets.iter().find(|request| request.name == name) else {
            return Err(format!("the manifest asks for no secret `{name}`"));
        };
        if !request.forms.iter().any(|asked| asked == form.code()) {
            return Err(format!("the manifest does not ask for `{name}` as {}", form.code()));
        }
        if !grants.iter().any(|grant| grant.strip_prefix("secret:") == Some(name)) {
            return Err(format!("add \"secret:{name}\" to its `grants`"));
        }
        Ok(())
    }

    /// The hosts it asks for that these grants name.
    pub fn http_hosts(&self, grants: &[String]) -> Vec<String> {
        let asked = |host: &str| {
            self.http.iter().any(|request| request.host == host || request.host == ANY_HOST)
        };
        let granted = grants.iter().filter_map(|grant| grant.strip_prefix("http:"));
        granted.filter(|host| *host != ANY_HOST && asked(host)).map(ToOwned::to_owned).collect()
    }

    fn check(&self) -> Result<(), ManifestError> {
        check_name("id", &self.id)?;
        for (field, text, most) in [
            ("author", &self.author, MAX_REASON),
            ("license", &self.license, MAX_REASON),
            ("description", &self.description, MAX_DESCRIPTION),
        ] {
            check_text(field, text, most)?;
        }
        if self.api != API {
            let problem = format!(
                "`{}` is not a plugin API this host speaks; it speaks {API}: build the plugin with \
                 the SDK of this host",
                cut(&self.api)
            );
            return Err(wrong("api", &problem));
        }
        for (field, text) in [("name", &self.name), ("version", &self.version)] {
            if text.is_empty() || text.len() > 128 || text.contains(char::is_control) {
                return Err(wrong(field, "it must be 1 to 128 bytes of printable text"));
            }
        }
        if !self
            .version
            .split('.')
            .take(3)
            .all(|part| part.starts_with(|c: char| c.is_ascii_digit()))
        {
            return Err(wrong("version", "it must look like `1.2.3`"));
        }
        if !self.settings.is_object() {
            return Err(wrong("settings", "it must be a JSON Schema object"));
        }
        if self.links.len() > MAX_LINKS {
            return Err(wrong("links", &format!("at most {MAX_LINKS} links")));
        }
        let mut names = BTreeSet::new();
        for (index, link) in self.links.iter().enumerate() {
            link.check(&format!("links.{index}"))?;
            if !names.insert(&link.name) {
                return Err(wrong("links", &format!("two links are called `{}`", link.name)));
            }
        }
        self.check_http()?;
        self.check_secrets()?;
        self.check_hooks()
    }

    fn check_secrets(&self) -> Result<(), ManifestError> {
        if self.secrets.len() > MAX_SECRETS {
            return Err(wrong("secrets", &format!("at most {MAX_SECRETS} secrets")));
        }
        let mut names = BTreeSet::new();
        for (index, SecretRequest { name, forms, reason }) in self.secrets.iter().enumerate() {
            check_name(&format!("secrets.{index}.name"), name)?;
            if !names.insert(name) {
                return Err(wrong("secrets", &format!("two secrets are called `{name}`")));
            }
            let known = SECRET_FORMS.map(SecretForm::code);
            let odd = forms.iter().find(|form| !known.contains(&form.as_str()));
            let field = format!("secrets.{index}.forms");
            if let Some(odd) = odd {
                let problem = format!("`{}` is not a form; use {}", cut(odd), known.join(", "));
                return Err(wrong(&field, &problem));
            }
            if forms.is_empty() {
                return Err(wrong(&field, &format!("name at least one of {}", known.join(", "))));
            }
            check_text(&format!("secrets.{index}.reason"), reason, MAX_REASON)?;
        }
        Ok(())
    }

    fn check_http(&self) -> Result<(), ManifestError> {
        if self.http.len() > MAX_HTTP {
            return Err(wrong("http", &format!("at most {MAX_HTTP} hosts")));
        }
        let mut hosts = BTreeSet::new();
        for (index, HttpRequest { host, reason }) in self.http.iter().enumerate() {
            let fine = |c: char| c.is_ascii_graphic() && !"/@?#*\\\"".contains(c);
            let is_name = !host.is_empty() && host.len() <= 255 && host.chars().all(fine);
            if !is_name && host != ANY_HOST {
                let problem = "name one host, e.g. `crm.example.org`, without scheme or path; or `*` for the one \
                               that the admin names in the grants";
                return Err(wrong(&format!("http.{index}.host"), problem));
            }
            if !hosts.insert(host) {
                return Err(wrong("http", &format!("the host `{host}` is named twice")));
            }
            check_text(&format!("http.{index}.reason"), reason, MAX_REASON)?;
        }
        Ok(())
    }

    fn check_hooks(&self) -> Result<(), ManifestError> {
        if self.hooks.len() > MAX_HOOKS {
            return Err(wrong("hooks", &format!("at most {MAX_HOOKS} hooks")));
        }
        let mut kinds = BTreeSet::new();
        for (index, hook) in self.hooks.iter().enumerate() {
            let known = HOOKS.map(Kind::code);
            if !known.contains(&hook.kind.as_str()) {
                let problem =
                    format!("`{}` is not a hook; use {}", cut(&hook.kind), known.join(", "));
                return Err(wrong(&format!("hooks.{index}.kind"), &problem));
            }
            if !kinds.insert(&hook.kind) {
                return Err(wrong("hooks", &format!("the hook `{}` is named twice", hook.kind)));
            }
        }
        Ok(())
    }
}

impl Permission {
    /// Does a list of grants, or of permissions declined, say something about this one? A wish for a host that
    /// the admin names is answered by naming one.
    pub fn is_answered_by(&self, list: &[String]) -> bool {
        list.contains(&self.grant)
            || (self.grant == format!("http:{ANY_HOST}")
                && list.iter().any(|grant| grant.starts_with("http:")))
    }
}

impl SecretRequest {
    fn permission(&self) -> Permission {
        let Self { name, forms, reason } = self;
        let forms = forms.join(", ");
        Permission {
            grant: format!("secret:{name}"),
            reason: reason.clone(),
            meaning: format!(
                "Jackfield puts secrets.{name} into requests of the plugin, to the hosts you allow ({forms}). The \
                 plugin never sees it; whoever answers at those hosts does, unless the form hides it."
            ),
        }
    }
}

impl HttpRequest {
    fn permission(&self) -> Permission {
        let host = &self.host;
        if host == ANY_HOST {
            return Permission {
                grant: format!("http:{host}"),
                reason: self.reason.clone(),
                meaning: "It can send HTTP requests through Jackfield to the hosts that you name in the grants as \
                          http:HOST, e.g. http:crm.example.org, and to no other, with anything it knows of your \
                          calls in them, and reads the answers."
                    .to_owned(),
            };
        }
        Permission {
            grant: format!("http:{host}"),
            reason: self.reason.clone(),
            meaning: format!(
                "It can send HTTP requests to {host} through Jackfield, with anything it knows of your \
                 calls in them, and reads the answers."
            ),
        }
    }
}

impl LinkRequest {
    fn permission(&self) -> Permission {
        let name = &self.name;
        let secrets = match self.secrets.as_slice() {
            [] => "It is given no secret.".to_owned(),
            forms => format!(
                "The secret secrets.{name} stays with Jackfield, which puts it in at the socket ({}).",
                forms.join(", ")
            ),
        };
        Permission {
            grant: format!("link:{name}"),
            reason: self.reason.clone(),
            meaning: format!(
                "It reads and writes on the connection you set in links.{name}, and on that PBX it can do \
                 whatever the account it logs in with may do: give it an account with no more rights than it \
                 needs. {secrets}"
            ),
        }
    }

    fn plain_permission(&self) -> Option<Permission> {
        let plain = SecretForm::Plain.code();
        if !self.secrets.iter().any(|form| form == plain) {
            return None;
        }
        let name = &self.name;
        Some(Permission {
            grant: format!("plain:{name}"),
            reason: self.plain_reason.clone(),
            meaning: format!(
                "Jackfield sends secrets.{name} as it is, not hashed, where the plugin asks for it on the link \
                 {name}: whoever sees that connection sees the secret, so use it over TLS only."
            ),
        })
    }

    fn check(&self, field: &str) -> Result<(), ManifestError> {
        check_name(&format!("{field}.name"), &self.name)?;
        let known = |transport: &str| matches!(transport, "tcp" | "tls" | "ws" | "wss");
        if self.transports.is_empty() {
            return Err(wrong(&format!("{field}.transports"), "name at least one of tcp, tls"));
        }
        for transport in self.transports.iter().chain(self.default_port.keys()) {
            if !known(transport) {
                let problem =
                    format!("`{}` is not a transport; use tcp, tls, ws or wss", cut(transport));
                return Err(wrong(&format!("{field}.transports"), &problem));
            }
        }
        if !(1..=MAX_FRAME).contains(&self.max_frame) {
            return Err(wrong(
                &format!("{field}.max_frame"),
                &format!("it must be 1 to {MAX_FRAME}"),
            ));
        }
        for form in &self.secrets {
            if SecretForm::from_code(form).is_none() {
                let problem = format!("`{}` is not a form; use {}", cut(form), SecretForm::CODES);
                return Err(wrong(&format!("{field}.secrets"), &problem));
            }
        }
        check_text(&format!("{field}.reason"), &self.reason, MAX_REASON)?;
        check_text(&format!("{field}.plain_reason"), &self.plain_reason, MAX_REASON)
    }
}

/// Texts are shown to people, on terminals too.
fn check_text(field: &str, text: &str, most: usize) -> Result<(), ManifestError> {
    if text.len() <= most && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(wrong(field, &format!("it must be at most {most} bytes of printable text on one line")))
}

/// A foreign text in a message.
fn cut(text: &str) -> String {
    text.chars().take(64).filter(|c| !c.is_control()).collect()
}

fn check_name(field: &str, name: &str) -> Result<(), ManifestError> {
    let fits = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fits {
        return Ok(());
    }
    Err(wrong(field, "use up to 64 lower-case letters, digits and `-`, beginning with a letter"))
}

fn wrong(field: &str, problem: &str) -> ManifestError {
    ManifestError::Field { field: field.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> serde_json::Value {
        serde_json::json!({
            "id": "tiny", "name": "Tiny", "version": "0.1.0", "author": "A", "license": "MIT",
            "description": "Does nothing.",
            "links": [{ "name": "ami", "transports": ["tcp", "tls"], "required": true,
                        "default_port": { "tcp": 5038 }, "max_frame": 65536, "secrets": ["md5-hex"] }]
        })
    }

    fn problem(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut manifest = sample();
        change(&mut manifest);
        Manifest::from_json(manifest.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_good_manifest_is_read() {
        let manifest = Manifest::from_json(sample().to_string().as_bytes()).unwrap();
        assert_eq!(manifest.link("ami").unwrap().default_port["tcp"], 5038);
        assert!(manifest.link("other").is_none());
    }

    #[test]
    fn a_wrong_manifest_is_refused_by_field() {
        for (part, change) in [
            (
                "unknown field `colour`",
                (|m| m["colour"] = "red".into()) as fn(&mut serde_json::Value),
            ),
            ("missing field `author`", |m| {
                m.as_object_mut().unwrap().remove("author");
            }),
            ("`id` is wrong", |m| m["id"] = "No Spaces".into()),
            ("`version` is wrong", |m| m["version"] = "latest".into()),
            ("`links.0.max_frame` is wrong", |m| m["links"][0]["max_frame"] = 0.into()),
            ("`carrier-pigeon` is not a transport", |m| {
                m["links"][0]["transports"][0] = "carrier-pigeon".into();
            }),
            ("`description` is wrong", |m| m["description"] = "\u{1b}[2J".into()),
            ("`links.0.reason` is wrong", |m| m["links"][0]["reason"] = "x".repeat(501).into()),
            ("`api` is wrong: `0.2` is not a plugin API this host speaks", |m| {
                m["api"] = "0.2".into()
            }),
            ("`teleport` is not a hook; use router", |m| {
                m["hooks"] = serde_json::json!([{ "kind": "teleport" }]);
            }),
            ("the hook `router` is named twice", |m| {
                m["hooks"] = serde_json::json!([{ "kind": "router" }, { "kind": "router" }]);
            }),
            ("`http.0.host` is wrong", |m| m["http"] = serde_json::json!(["*.example.org"])),
            ("`http.0.host` is wrong", |m| m["http"] = serde_json::json!(["http://a/b"])),
            ("named twice", |m| m["http"] = serde_json::json!(["a", { "host": "a" }])),
            ("`treatment` is not a hook; use router, wait-treatment, observer", |m| {
                m["hooks"] = serde_json::json!([{ "kind": "treatment" }]);
            }),
            ("`secrets.0.name` is wrong", |m| {
                m["secrets"] = serde_json::json!([{ "name": "C R M", "forms": ["plain"] }]);
            }),
            ("`md5-hex` is not a form; use plain, basic, hmac-sha256-hex", |m| {
                m["secrets"] = serde_json::json!([{ "name": "crm", "forms": ["md5-hex"] }]);
            }),
            ("name at least one of plain", |m| {
                m["secrets"] = serde_json::json!([{ "name": "crm", "forms": [] }]);
            }),
            ("two secrets are called `crm`", |m| {
                let crm = serde_json::json!({ "name": "crm", "forms": ["plain"] });
                m["secrets"] = serde_json::json!([crm, crm]);
            }),
            ("`rot13` is not a form", |m| m["links"][0]["secrets"][0] = "rot13".into()),
        ] {
            let error = problem(change);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_it_asks_for_says_why_and_what_it_would_allow() {
        let manifest = serde_json::json!({
            "id": "tiny", "name": "Tiny", "version": "0.1.0", "author": "A", "license": "MIT",
            "description": "Does nothing.",
            "links": [{ "name": "ami", "transports": ["tcp"], "max_frame": 65536, "secrets": ["md5-hex", "plain"],
                        "reason": "To see calls.", "plain_reason": "Old PBXs know no other login." }],
            "http": ["old.example.org", { "host": "crm.example.org", "reason": "To look up callers." }],
            "hooks": [{ "kind": "router", "priority": 10 }],
        });
        let manifest = Manifest::from_json(manifest.to_string().as_bytes()).unwrap();
        let asked: Vec<_> =
            manifest.permissions().into_iter().map(|asked| (asked.grant, asked.reason)).collect();
        let expected = [
            ("link:ami", "To see calls."),
            ("plain:ami", "Old PBXs know no other login."),
            ("http:old.example.org", ""),
            ("http:crm.example.org", "To look up callers."),
        ];
        assert_eq!(asked, expected.map(|(grant, reason)| (grant.to_owned(), reason.to_owned())));
        let meaning = &manifest.permissions()[0].meaning;
        assert!(meaning.contains("whatever the account it logs in with may do"), "{meaning}");
        assert_eq!(manifest.hooks[0].priority, 10);
    }

    #[test]
    fn a_host_is_open_when_the_manifest_asks_and_the_admin_grants() {
        let open = |asked: serde_json::Value, grants: &[&str]| {
            let mut manifest = sample();
            manifest["http"] = asked;
            let manifest = Manifest::from_json(manifest.to_string().as_bytes()).unwrap();
            let grants: Vec<String> = grants.iter().map(ToString::to_string).collect();
            let unanswered = manifest
                .permissions()
                .into_iter()
                .filter(|asked| asked.grant.starts_with("http:") && !asked.is_answered_by(&grants));
            (manifest.http_hosts(&grants).join(" "), unanswered.count())
        };
        let named = || serde_json::json!(["a.example", "b.example"]);
        assert_eq!(open(named(), &["http:a.example", "http:c.example"]), ("a.example".into(), 1));
        assert_eq!(open(named(), &["link:a.example", "http-private:a.example"]), ("".into(), 2));
        let any = || serde_json::json!([{ "host": "*", "reason": "To ask your CRM." }]);
        assert_eq!(open(any(), &[]), ("".into(), 1));
        assert_eq!(open(any(), &["http:crm.example"]), ("crm.example".into(), 0));
        // All hosts at once is not to be had.
        assert_eq!(open(any(), &["http:*"]), ("".into(), 0));
    }

    #[test]
    fn a_secret_is_sent_when_the_manifest_asks_and_the_admin_grants() {
        let mut manifest = sample();
        manifest["secrets"] = serde_json::json!(
            [{ "name": "crm", "forms": ["plain"], "reason": "To log in at your CRM." }]
        );
        let manifest = Manifest::from_json(manifest.to_string().as_bytes()).unwrap();
        let may = |name, form, grants: &[&str]| {
            let grants: Vec<String> = grants.iter().map(ToString::to_string).collect();
            manifest.may_send_secret(name, form, &grants).map_err(|problem| problem.to_string())
        };
        assert_eq!(may("crm", SecretForm::Plain, &["secret:crm"]), Ok(()));
        let missing = may("crm", SecretForm::Plain, &["secret:other", "http:crm"]).unwrap_err();
        assert!(missing.contains("add \"secret:crm\""), "{missing}");
        assert!(may("crm", SecretForm::Basic, &["secret:crm"]).is_err());
        assert!(may("other", SecretForm::Plain, &["secret:other"]).is_err());
        let asked = manifest.permissions().pop().unwrap();
        assert_eq!(
            (asked.grant.as_str(), asked.reason.as_str()),
            ("secret:crm", "To log in at your CRM.")
        );
    }

    #[test]
    fn what_it_says_is_the_same_when_written_and_read_again() {
        let manifest = Manifest::from_json(sample().to_string().as_bytes()).unwrap();
        let written = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Manifest::from_json(&written).unwrap(), manifest);
    }

    #[test]
    fn no_json_is_no_manifest() {
        assert!(Manifest::from_json(b"id = 1").unwrap_err().to_string().contains("cannot be read"));
        let long = vec![b' '; MAX_MANIFEST + 1];
        assert!(matches!(Manifest::from_json(&long), Err(ManifestError::TooLarge(_))));
    }
}
