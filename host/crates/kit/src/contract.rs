//! The contract, as this program was built with it and as it was released: which interfaces there are, and whether a
//! component fits them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, anyhow, ensure};
use plugin_runtime::Kind;
use wit_component::DecodedWasm;
use wit_parser::{PackageId, Resolve, SourceMap, UnresolvedPackageGroup};

use crate::embedded::{Files, RELEASED, WIT};

/// The only interface with functions that a plugin may import.
pub(crate) const LOG: &str = "jackfield:log/log";
/// What makes a component a plugin of a kind.
const KINDS: [(&str, Kind); 4] = [
    ("jackfield:connector/connector", Kind::Connector),
    ("jackfield:router/router", Kind::Router),
    ("jackfield:treatment/wait-treatment", Kind::WaitTreatment),
    ("jackfield:observer/observer", Kind::Observer),
];
/// What it may do besides, and what people call that.
const ABILITIES: [(&str, &str); 2] =
    [("jackfield:connector/state", "snapshot"), ("jackfield:settings/settings", "settings check")];

/// What a component offers and wants, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surface {
    pub imports: Vec<Import>,
    /// `jackfield:router/router@0.1.0`.
    pub exports: Vec<String>,
}

/// One import.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// `wasi:clocks/wall-clock@0.2.9`.
    pub name: String,
    /// An interface without functions and resources: how a component names what its exports talk about.
    pub types_only: bool,
}

impl Surface {
    /// Reads it out of a valid component.
    pub fn of(component: &[u8]) -> anyhow::Result<Self> {
        let (resolve, world) = match wit_component::decode(component)? {
            DecodedWasm::Component(resolve, world) => (resolve, world),
            DecodedWasm::WitPackage(..) => {
                return Err(anyhow!("this is a WIT package, not a component"));
            }
        };
        let world = &resolve.worlds[world];
        let imports = world.imports.iter().map(|(key, item)| Import {
            name: resolve.name_world_key(key),
            types_only: crate::component::is_types_only(&resolve, item),
        });
        let exports = world.exports.keys().map(|key| resolve.name_world_key(key));
        Ok(Self { imports: imports.collect(), exports: exports.collect() })
    }

    /// What it can be used as.
    pub fn kinds(&self) -> Vec<Kind> {
        let has = |interface| self.exports.iter().any(|export| split(export).0 == interface);
        KINDS.iter().filter(|(name, _)| has(*name)).map(|(_, kind)| *kind).collect()
    }

    /// What it can do besides.
    pub fn abilities(&self) -> Vec<&'static str> {
        let has = |interface| self.exports.iter().any(|export| split(export).0 == interface);
        ABILITIES.iter().filter(|(name, _)| has(*name)).map(|(_, what)| *what).collect()
    }

    /// Those of our interfaces that it uses or a host calls: `jackfield:router/router@0.1.0`.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        let ours = |name: &&str| name.starts_with("jackfield:");
        let imports = self.imports.iter().map(|import| import.name.as_str()).filter(ours);
        let exports = self.exports.iter().map(String::as_str);
        imports.chain(exports.filter(|export| known(split(export).0)))
    }
}

/// `a:b/c@0.1.0` as name and version.
pub(crate) fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

/// The interfaces a plugin may export, with their version.
pub(crate) fn known(interface: &str) -> bool {
    KINDS
        .iter()
        .map(|(name, _)| *name)
        .chain(ABILITIES.map(|(name, _)| name))
        .any(|it| it == interface)
}

/// A version of the contract: its WIT files, by `<folder>/<file>`.
#[derive(Clone, Copy)]
pub(crate) struct Contract(Files);

impl Contract {
    /// That of this program.
    pub fn ours() -> Self {
        Self(WIT)
    }

    /// Those that were released and never change, the oldest first.
    pub fn released() -> Vec<(&'static str, Self)> {
        let mut released: Vec<_> =
            RELEASED.iter().map(|(name, files)| (*name, Self(files))).collect();
        released.sort_by_key(|(name, _)| {
            name.split('.').map(|number| number.parse().unwrap_or(0)).collect::<Vec<u32>>()
        });
        released
    }

    /// Its number: that of `jackfield:sdk`.
    pub fn version(self) -> Option<String> {
        let text =
            self.0.iter().find(|(path, _)| path.starts_with("sdk/")).map(|(_, text)| *text)?;
        let text = std::str::from_utf8(text).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("package jackfield:sdk@"))?;
        Some(line.trim_end_matches(';').to_owned())
    }

    /// Does the component mean by the names of its exports what this contract means?
    ///
    /// The text names the interfaces that are not in it, or the first function or type that differs.
    pub fn fits(self, component: &[u8], surface: &Surface) -> anyhow::Result<()> {
        let has = self.interfaces()?;
        let lacks: Vec<&str> = surface.needs().filter(|name| !has.contains(*name)).collect();
        ensure!(lacks.is_empty(), "it has no {}", lacks.join(", "));
        let exports = surface.exports.iter().filter(|export| known(split(export).0));
        let exports: String = exports.map(|export| format!("export {export};\n")).collect();
        let wanted = format!(
            "package jackfield:wanted;\nworld plugin {{\nimport {LOG}@{};\n{exports}}}",
            self.version().context("the contract has a version")?
        );
        let (resolve, package) = self.with(&wanted)?;
        let world =
            *resolve.packages[package].worlds.get("plugin").context("it was just written")?;
        wit_component::targets(&resolve, world, component, false)
    }

    /// `jackfield:router/router@0.1.0` and the others.
    fn interfaces(self) -> anyhow::Result<BTreeSet<String>> {
        let (resolve, _) = self.with("package jackfield:wanted;")?;
        let interfaces = resolve.interfaces.iter();
        Ok(interfaces.filter_map(|(id, _)| resolve.id_of(id)).collect())
    }

    /// The contract with one more package.
    fn with(self, text: &str) -> anyhow::Result<(Resolve, PackageId)> {
        let mut folders = BTreeMap::<&str, SourceMap>::new();
        for (path, text) in self.0 {
            let folder = path.split('/').next().unwrap_or_default();
            if Path::new(path).extension().is_some_and(|extension| extension == "wit") {
                folders.entry(folder).or_default().push_str(path, std::str::from_utf8(text)?);
            }
        }
        let parse = |map: SourceMap| -> anyhow::Result<UnresolvedPackageGroup> {
            map.parse().map_err(|(map, error)| anyhow!("{}", error.render(&map)))
        };
        let packages = folders.into_values().map(parse).collect::<anyhow::Result<Vec<_>>>()?;
        let mut wanted = SourceMap::new();
        wanted.push_str("wanted.wit", text);
        let mut resolve = Resolve::default();
        let package =
            resolve.push_groups(parse(wanted)?, packages).map_err(|error| anyhow!("{error:#}"))?;
        Ok((resolve, package))
    }
}

/// A project may carry WIT files, and a mistake in one should be told with its place before a tool stumbles over it.
pub(crate) fn project_parses(root: &Path) -> anyhow::Result<()> {
    let wit = root.join("wit");
    if wit.is_dir() { folder_parses(&wit, 0) } else { Ok(()) }
}

fn folder_parses(folder: &Path, depth: usize) -> anyhow::Result<()> {
    const MAX_DEPTH: usize = 8;
    let mut package = SourceMap::new();
    let mut is_package = false;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && depth < MAX_DEPTH {
            folder_parses(&path, depth + 1)?;
        } else if path.extension().is_some_and(|extension| extension == "wit") {
            is_package = true;
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            package.push(&path, text);
        }
    }
    if is_package {
        package.parse().map_err(|(map, error)| {
            let folder = folder.display();
            anyhow!(
                "the project's WIT in {folder} cannot be read: {}\n  fix: mend it, or remove the folder: a plugin needs no WIT of its own",
                error.render(&map).trim_end()
            )
        })?;
    }
    Ok(())
}
