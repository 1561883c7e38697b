//! The sections of the file, one function each.

mod hooks;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use calls::{
    AgentId, ConnectorId,
    event::{Agent, Device},
};
use toml::de::DeValue;

use super::{
    ApiConfig, Config, ConfigError, ConnectorConfig, JournalConfig, LimitsConfig, LinkConfig,
    LinkUrl, NumberRules, PluginSource, PluginsConfig, QueueConfig, RestoreConfig, SecretText,
    TlsFiles, Transport,
    document::{At, Document, Section, nearest},
    secret,
};

use crate::plugins::signing::{SignaturePolicy, Signing, SigningError};

/// What most admins want; nothing leaves the machine.
const USUAL_LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);
const USUAL_KEEP_DAYS: u32 = 30;
const USUAL_KEEP_MIB: u32 = 4096;

pub(super) fn read(
    text: &str,
    file: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let document = Document::new(text);
    let table = document.parse();
    let reader = Reader {
        document: &document,
        folder: file.parent().map(Path::to_owned).unwrap_or_default(),
        environment,
    };
    let mut root = Section::root(&document, &table);
    let api = reader.api(&mut root);
    let journal = reader.journal(&mut root);
    let plugins = reader.plugins(&mut root);
    let connectors: Vec<ConnectorConfig> = root
        .entries("connectors")
        .into_iter()
        .filter_map(|(id, at)| reader.connector(&id, &at))
        .collect();
    let known: Vec<String> =
        connectors.iter().map(|connector| connector.id.as_str().to_owned()).collect();
    let agents = reader.agents(&mut root, &known);
    let hooks = reader.hooks(&mut root);
    root.finish();
    drop(table);
    let findings = document.finish();
    if !findings.complaints.is_empty() {
        return Err(ConfigError::Complaints {
            file: file.to_owned(),
            complaints: findings.complaints,
        });
    }
    Ok(Config {
        file: file.to_owned(),
        api,
        journal,
        plugins,
        connectors,
        agents,
        hooks,
        warnings: findings.warnings,
        places: findings.places,
    })
}

struct Reader<'d, 't> {
    document: &'d Document<'t>,
    /// Relative paths start here.
    folder: PathBuf,
    environment: &'d dyn Fn(&str) -> Option<String>,
}

impl<'d, 't> Reader<'d, 't> {
    fn complain(&self, at: &At<impl Sized>, message: impl Into<String>, fix: impl Into<String>) {
        self.document.complain(&at.span, &at.key, message.into(), fix.into());
    }

    fn missing(&self, section: &Section<'_, '_>, name: &str, fix: impl Into<String>) {
        self.document.complain(
            &section.span,
            &section.dotted(name),
            "is missing".to_owned(),
            fix.into(),
        );
    }

    /// A path, made absolute from the config's folder.
    fn path(&self, section: &mut Section<'_, '_>, name: &'static str) -> Option<PathBuf> {
        let text = section.string(name)?;
        if text.value.is_empty() || text.value.contains('\0') {
            self.complain(
                &text,
                "is not a path",
                "write a path; relative ones start at this file's folder",
            );
            return None;
        }
        Some(self.folder.join(text.value))
    }

    fn api(&self, root: &mut Section<'d, 't>) -> ApiConfig {
        let mut api =
            ApiConfig { listen: SocketAddr::from(USUAL_LISTEN), cors: Vec::new(), tls: None };
        let Some(mut section) = root.section("api") else { return api };
        let listen = section.string("listen");
        if let Some(text) = &listen {
            match text.value.parse() {
                Ok(address) => api.listen = address,
                Err(_) => self.complain(
                    text,
                    format!("{:?} is not an address with a port", text.value),
                    "write an IP address and a port, e.g. \"127.0.0.1:8080\" or \"[::1]:8080\"",
                ),
            }
        }
        for origin in section.strings("cors").unwrap_or_default() {
            match checked_origin(&origin.value) {
                Ok(()) => api.cors.push(origin.value),
                Err(fix) => {
                    self.complain(&origin, format!("{:?} is not an origin", origin.value), fix);
                }
            }
        }
        if let Some(mut tls) = section.section("tls") {
            let cert = self.path(&mut tls, "cert");
            let key = self.path(&mut tls, "key");
            match (cert, key) {
                (Some(cert), Some(key)) => api.tls = Some(TlsFiles { cert, key }),
                (None, _) => {
                    self.missing(&tls, "cert", "name the PEM file with the certificate chain")
                }
                (_, None) => self.missing(&tls, "key", "name the PEM file with the private key"),
            }
            tls.finish();
        }
        let allowed = section.bool("allow_plaintext").unwrap_or(false);
        let tls_written = section.value("tls").is_some();
        if let Some(at) = listen
            && !api.listen.ip().is_loopback()
            && !tls_written
            && !allowed
        {
            self.complain(
                &at,
                format!("{} can be reached from other machines, and tokens would travel unencrypted", api.listen),
                "add tls = { cert = \"chain.pem\", key = \"key.pem\" }, or listen on 127.0.0.1 behind a \
                 proxy that speaks TLS, or set allow_plaintext = true if you know the network",
            );
        }
        section.finish();
        api
    }

    fn journal(&self, root: &mut Section<'d, 't>) -> JournalConfig {
        let mut journal = JournalConfig {
            path: self.folder.join("jackfield.db"),
            keep_days: USUAL_KEEP_DAYS,
            keep_mib: USUAL_KEEP_MIB,
        };
        let Some(mut section) = root.section("journal") else { return journal };
        if let Some(path) = self.path(&mut section, "path") {
            journal.path = path;
        }
        if let Some(days) = section.number("keep_days", 1..=3650) {
            journal.keep_days = days;
        }
        if let Some(mib) = section.number("keep_mib", 16..=1_048_576) {
            journal.keep_mib = mib;
        }
        section.finish();
        journal
    }

    fn plugins(&self, root: &mut Section<'d, 't>) -> PluginsConfig {
        let mut plugins = PluginsConfig::default();
        let Some(mut section) = root.section("plugins") else { return plugins };
        plugins.dir = self.path(&mut section, "dir");
        plugins.watch = section.bool("watch").unwrap_or(plugins.watch);
        if let Some(secs) = section.number("probation_secs", 0..=86_400) {
            plugins.probation = Duration::from_secs(u64::from(secs));
        }
        if let Some(word) = section.string("refused_state") {
            match word.value.as_str() {
                "redial" => plugins.redial = true,
                "keep" => plugins.redial = false,
                _ => self.complain(
                    &word,
                    format!("{:?} is not possible", word.value),
                    "write \"redial\" (the new version begins anew and dials again) or \"keep\" (the old one stays)",
                ),
            }
        }
        let policy = section.string("signatures").map_or(Ok(SignaturePolicy::Off), |word| {
            word.value.parse().map_err(|error: SigningError| (word, error))
        });
        let keys = section.strings("keys").unwrap_or_default();
        let at =
            keys.first().map(|key| At { value: (), key: key.key.clone(), span: key.span.clone() });
        let keys: Vec<String> = keys.into_iter().map(|key| key.value).collect();
        let signing = policy.and_then(|policy| {
            let at = at.unwrap_or_else(|| At {
                value: (),
                key: section.dotted("signatures"),
                span: section.span.clone(),
            });
            let at = At { value: String::new(), key: at.key, span: at.span };
            Signing::new(policy, &keys).map_err(|error| (at, error))
        });
        match signing {
            Ok(signing) => plugins.signing = signing,
            Err((at, error)) => {
                let text = error.to_string();
                let (message, fix) = text.split_once("; fix: ").unwrap_or((&text, "remove it"));
                self.complain(&at, message, fix);
            }
        }
        section.finish();
        plugins
    }

    fn connector(&self, id: &str, at: &At<&'d DeValue<'t>>) -> Option<ConnectorConfig> {
        let id_is_good = is_connector_id(id);
        if !id_is_good {
            self.complain(
                at,
                format!("{id:?} cannot be a connector's name"),
                "use lower-case letters, digits and `-`, at most 32, beginning with a letter, e.g. [connectors.hq]",
            );
        }
        let mut section = self.document.as_section(at)?;
        let raw = self.document.as_json(at).unwrap_or_default();
        let plugin = self.plugin(&mut section);
        let version = section.string("version");
        if let (Some(version), Some(PluginSource::File(_))) = (&version, &plugin) {
            self.complain(
                version,
                "a plugin named by its file has the version that is in the file",
                "remove it, or name the plugin by its id",
            );
        }
        let enabled = section.bool("enabled");
        let allow_plaintext = section.bool("allow_plaintext").unwrap_or(false);
        let links: BTreeMap<String, LinkConfig> = section
            .entries("links")
            .into_iter()
            .filter_map(|(name, at)| Some((name, self.link(&at, allow_plaintext)?)))
            .collect();
        let secrets = section
            .entries("secrets")
            .into_iter()
            .filter_map(|(name, at)| Some((name, self.secret(&at)?)))
            .collect();
        let (settings, numbers, time_zone) = self.settings(&mut section);
        let grants = section
            .strings("grants")
            .unwrap_or_default()
            .into_iter()
            .filter_map(|grant| self.grant(grant))
            .collect();
        let declined = section
            .strings("declined")
            .unwrap_or_default()
            .into_iter()
            .filter_map(|grant| self.grant(grant))
            .collect();
        let limits =
            section.section("limits").map(|limits| read_limits(limits)).unwrap_or_default();
        let queues = section
            .entries("queues")
            .into_iter()
            .filter_map(|(name, at)| Some((name, self.queue(&at)?)))
            .collect();
        section.finish();
        Some(ConnectorConfig {
            id: ConnectorId::from(id),
            plugin: plugin?,
            version: version.map(|version| version.value),
            enabled,
            links,
            secrets,
            settings,
            grants,
            declined,
            limits,
            allow_plaintext,
            numbers,
            time_zone,
            queues,
            raw,
        })
        .filter(|_| id_is_good)
    }

    fn plugin(&self, section: &mut Section<'d, 't>) -> Option<PluginSource> {
        let Some(at) = section.value("plugin") else {
            self.missing(
                section,
                "plugin",
                "name it, e.g. plugin = \"asterisk\", or the path of a .wasm file",
            );
            return None;
        };
        let text = self.document.as_string(&at)?;
        let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !text.value.is_empty() && text.value.len() <= 64 && text.value.bytes().all(is_id) {
            Some(PluginSource::Id(text.value))
        } else if text.value.ends_with(".wasm") && !text.value.contains('\0') {
            Some(PluginSource::File(self.folder.join(text.value)))
        } else {
            self.complain(
                &text,
                format!("{:?} is neither a plugin's id nor a file", text.value),
                "write an id such as \"asterisk\", or a path that ends with .wasm",
            );
            None
        }
    }

    fn link(&self, at: &At<&'d DeValue<'t>>, allow_plaintext: bool) -> Option<LinkConfig> {
        let (url, ca) = if let DeValue::Table(_) = at.value {
            let mut section = self.document.as_section(at)?;
            let url = section.string("url");
            if url.is_none() && section.value("url").is_none() {
                self.missing(&section, "url", "write url = \"tls://host\"");
            }
            let ca = self.path(&mut section, "ca");
            section.finish();
            (url?, ca)
        } else {
            (self.document.as_string(at)?, None)
        };
        let parsed = match LinkUrl::parse(&url.value) {
            Ok(parsed) => parsed,
            Err(fix) => {
                // What is refused may hold a password.
                let shown = if url.value.contains('@') {
                    "this".to_owned()
                } else {
                    format!("{:?}", url.value)
                };
                self.complain(&url, format!("{shown} is not a link's address"), fix);
                return None;
            }
        };
        if parsed.transport == Transport::Tcp && !parsed.is_loopback() && !allow_plaintext {
            self.complain(
                &url,
                format!("{parsed} is another machine, and what the PBX says would travel unencrypted"),
                format!(
                    "use tls://{} (the PBX needs tlsenable=yes), or set allow_plaintext = true on this \
                     connector if you know the network",
                    parsed.host
                ),
            );
        }
        if parsed.transport == Transport::Tcp && ca.is_some() {
            self.complain(&url, "`ca` means nothing without TLS", "write tls:// or remove `ca`");
        }
        Some(LinkConfig { url: parsed, ca })
    }

    fn secret(&self, at: &At<&'d DeValue<'t>>) -> Option<SecretText> {
        let DeValue::Table(_) = at.value else {
            self.complain(at, "a secret must not be written into this file", secret::REFERENCE_FIX);
            return None;
        };
        let mut section = self.document.as_section(at)?;
        let variable = section.string("env");
        let file = section.string("file");
        section.finish();
        let (from, read) = match (variable, file) {
            (Some(name), None) => {
                let read = secret::from_environment(&name.value, self.environment);
                (name, read)
            }
            (None, Some(path)) => {
                let read = secret::from_file(&self.folder.join(&path.value));
                (path, read)
            }
            _ => {
                self.complain(
                    at,
                    "exactly one of `env` and `file` is needed",
                    secret::REFERENCE_FIX,
                );
                return None;
            }
        };
        read.map_err(|unusable| self.complain(&from, unusable.message, unusable.fix)).ok()
    }

    fn settings(
        &self,
        section: &mut Section<'d, 't>,
    ) -> (serde_json::Value, NumberRules, Option<String>) {
        let empty = || serde_json::Value::Object(serde_json::Map::new());
        let Some(at) = section.value("settings") else {
            return (empty(), NumberRules::default(), None);
        };
        let Some(mut known) = self.document.as_section(&at) else {
            return (empty(), NumberRules::default(), None);
        };
        let json = self.document.as_json(&at).unwrap_or_else(empty);
        // The plugin's schema is the judge of types; these three the host uses itself.
        let mut text = |name| match known.value(name) {
            Some(at) if matches!(at.value, DeValue::String(_)) => self.document.as_string(&at),
            _ => None,
        };
        let country = text("country");
        let extensions = text("extensions");
        let time_zone = text("time_zone");
        let numbers = NumberRules {
            country: country.and_then(|at| self.country(at)),
            extensions: extensions.and_then(|at| self.pattern(at)),
        };
        (json, numbers, time_zone.and_then(|at| self.time_zone(at)))
    }

    fn country(&self, at: At<String>) -> Option<String> {
        if crate::parties::is_country(&at.value) {
            return Some(at.value);
        }
        self.complain(
            &at,
            format!("{:?} is not a country", at.value),
            "write the two capital letters of ISO 3166, e.g. \"DE\", \"US\" or \"GB\"",
        );
        None
    }

    fn pattern(&self, at: At<String>) -> Option<regex_lite::Regex> {
        match super::schema::pattern(&at.value) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.complain(
                    &at,
                    format!("not a regular expression: {error}"),
                    "write one that matches extensions only, e.g. \"^1[0-9]{3}$\"",
                );
                None
            }
        }
    }

    fn time_zone(&self, at: At<String>) -> Option<String> {
        if jiff::tz::TimeZone::get(&at.value).is_ok() {
            return Some(at.value);
        }
        self.complain(
            &at,
            format!("{:?} is not a time zone", at.value),
            "write a name of the IANA list, e.g. \"Europe/Berlin\" or \"UTC\"",
        );
        None
    }

    fn grant(&self, grant: At<String>) -> Option<String> {
        match grant.value.split_once(':') {
            Some(("link" | "plain" | "http" | "http-private", name)) if !name.is_empty() => {
                Some(grant.value)
            }
            _ => {
                self.complain(
                    &grant,
                    format!("{:?} is not a grant of this version", grant.value),
                    "write \"link:\" and a link's name, e.g. \"link:ami\"; there are also \"plain:<link>\", \"http:<host>\" and \"http-private:<host>:<port>\"",
                );
                None
            }
        }
    }

    fn queue(&self, at: &At<&'d DeValue<'t>>) -> Option<QueueConfig> {
        let mut section = self.document.as_section(at)?;
        let restore = section.string("restore").and_then(|word| match word.value.as_str() {
            "members-and-pauses" => Some(RestoreConfig::MembersAndPauses),
            "nothing" => Some(RestoreConfig::Nothing),
            _ => {
                self.complain(
                    &word,
                    format!("{:?} is not a way to restore", word.value),
                    "write \"members-and-pauses\" or \"nothing\"",
                );
                None
            }
        });
        let time_zone = section.string("time_zone").and_then(|at| self.time_zone(at));
        section.finish();
        Some(QueueConfig { restore, time_zone })
    }

    fn agents(&self, root: &mut Section<'d, 't>, connectors: &[String]) -> Vec<Agent> {
        let mut agents = Vec::new();
        let mut owners = Owners::default();
        for (id, at) in root.entries("agents") {
            if !is_agent_id(&id) {
                self.complain(
                    &at,
                    format!("{id:?} cannot be an agent's id"),
                    "use letters, digits, `.`, `_` and `-`, at most 64, e.g. [agents.anna]",
                );
            }
            let Some(mut section) = self.document.as_section(&at) else { continue };
            let name = section.string("name").map_or_else(|| id.clone(), |at| at.value);
            let devices = self.devices(&mut section, &id, connectors, &mut owners);
            let external = self.external(&mut section, &id, &mut owners);
            section.finish();
            agents.push(Agent {
                id: AgentId::from(id.as_str()),
                name,
                external,
                devices,
                from_config: true,
            });
        }
        agents
    }

    fn devices(
        &self,
        section: &mut Section<'d, 't>,
        agent: &str,
        connectors: &[String],
        owners: &mut Owners,
    ) -> Vec<Device> {
        let Some(list) = section.value("devices") else { return Vec::new() };
        let DeValue::Array(array) = list.value else {
            self.document.wrong_type(
                &list,
                "a list such as [{ connector = \"hq\", extension = \"1001\" }]",
                list.value,
            );
            return Vec::new();
        };
        let mut devices = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let at = At {
                value: item.get_ref(),
                key: format!("{}[{index}]", list.key),
                span: item.span(),
            };
            let Some(mut device) = self.document.as_section(&at) else { continue };
            let connector = device.string("connector");
            let extension = device.string("extension");
            device.finish();
            let (Some(connector), Some(extension)) = (connector, extension) else {
                self.complain(
                    &at,
                    "a device needs both `connector` and `extension`",
                    "write { connector = \"hq\", extension = \"1001\" }",
                );
                continue;
            };
            if !connectors.contains(&connector.value) {
                let names: Vec<&str> = connectors.iter().map(String::as_str).collect();
                let fix = match nearest(&connector.value, &names) {
                    Some(known) => format!("did you mean {known:?}?"),
                    None if names.is_empty() => "add a [connectors.<id>] section".to_owned(),
                    None => format!("write one of: {}", names.join(", ")),
                };
                self.complain(
                    &connector,
                    format!("there is no connector {:?}", connector.value),
                    fix,
                );
            }
            let line = format!("{}/{}", connector.value, extension.value);
            if let Some(other) = owners.claim(&line, agent) {
                self.complain(
                    &extension,
                    format!(
                        "extension {} of {} belongs to agent {other} already",
                        extension.value, connector.value
                    ),
                    "one line belongs to one agent: remove it from one of the two",
                );
                continue;
            }
            devices.push(Device {
                connector: ConnectorId::from(connector.value.as_str()),
                extension: extension.value,
            });
        }
        devices
    }

    fn external(
        &self,
        section: &mut Section<'d, 't>,
        agent: &str,
        owners: &mut Owners,
    ) -> BTreeMap<String, String> {
        let mut external = BTreeMap::new();
        for (name, at) in section.entries("external") {
            let Some(text) = self.document.as_string(&at) else { continue };
            if let Some(other) = owners.claim(&format!("{name} {}", text.value), agent) {
                self.complain(
                    &text,
                    format!("{name} {:?} belongs to agent {other} already", text.value),
                    "one person is one agent: remove it from one of the two",
                );
                continue;
            }
            external.insert(name, text.value);
        }
        external
    }
}

/// Whose a line or an outside id is.
#[derive(Default)]
struct Owners(BTreeMap<String, String>);

impl Owners {
    /// The agent that has it already, if there is one.
    fn claim(&mut self, thing: &str, agent: &str) -> Option<String> {
        match self.0.get(thing) {
            Some(owner) => Some(owner.clone()),
            None => {
                self.0.insert(thing.to_owned(), agent.to_owned());
                None
            }
        }
    }
}

fn read_limits(mut section: Section<'_, '_>) -> LimitsConfig {
    let limits = LimitsConfig {
        memory_mib: section.number("memory_mib", 1..=4096),
        step_ms: section.number("step_ms", 1..=10_000),
        snapshot_kib: section.number("snapshot_kib", 1..=65_536),
        effects_per_step: section.number("effects_per_step", 16..=1_048_576),
        bytes_per_step: section.number("bytes_per_step", 4096..=67_108_864),
        log_lines_per_sec: section.number("log_lines_per_sec", 0..=10_000),
        recoveries_per_minute: section.number("recoveries_per_minute", 1..=1_000_000),
        http_per_minute: section.number("http_per_minute", 0..=100_000),
        recording_kib: section.number("recording_kib", 0..=1_048_576),
        recording_minutes: section.number("recording_minutes", 1..=1440),
    };
    section.finish();
    limits
}

/// Scheme, host and port as a browser's `Origin` header writes them.
fn checked_origin(origin: &str) -> Result<(), &'static str> {
    const FIX: &str =
        "write scheme and host as the browser does, e.g. \"https://chat.example.org\"";
    let rest =
        origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).ok_or(FIX)?;
    let host_like =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
    if rest.is_empty() || !rest.bytes().all(host_like) { Err(FIX) } else { Ok(()) }
}

fn is_connector_id(id: &str) -> bool {
    id.len() <= 32
        && id.starts_with(|first: char| first.is_ascii_lowercase())
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_agent_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 64
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
