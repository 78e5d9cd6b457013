//! deb, rpm and apk of a row, by nfpm, from one description made of the matrix and the folder `dist/`.
//!
//! ```text
//!   stage/ (programs, pages, completions) + dist/ (unit, users, settings, scripts) --nfpm.yaml--> etcd_3.7.1_amd64.deb ..
//! ```
//!
//! Dates inside are the commit's, so that the same commit is the same package.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::elf::{Needs, numbers};
use crate::matrix::Row;
use crate::place;
use crate::shell::Step;

/// What goes into a package besides what `dist/` holds.
pub struct Stage<'a> {
    pub folder: &'a Path,
    pub programs: &'a [String],
    pub has_server: bool,
    pub release: &'a str,
    /// Of all programs, for what a package depends on.
    pub needs: &'a Needs,
    /// Whether a pointer of the row has 64 bits.
    pub is_wide: bool,
    pub seconds: u64,
}

/// Writes every package that the row has a word for, into `output`.
pub fn write(row: &Row, stage: &Stage<'_>, output: &Path) -> Result<()> {
    let kinds = [("deb", &row.packages.deb), ("rpm", &row.packages.rpm), ("apk", &row.packages.apk)];
    for (kind, word) in kinds.into_iter().filter_map(|(kind, word)| Some((kind, word.as_ref()?))) {
        let file = stage.folder.join(format!("nfpm-{kind}.yaml"));
        // A description of nfpm is YAML, and JSON is YAML.
        fs::write(&file, serde_json::to_string_pretty(&description(kind, word, stage, &place::checkout()))?)?;
        fs::write(stage.folder.join(CHANGES), serde_json::to_string_pretty(&changes(stage))?)?;
        let step = Step::new(nfpm()).args(["package", "--packager", kind, "--config"]).args([&file]).args(["--target"]).args([output]);
        step.var("SOURCE_DATE_EPOCH", stage.seconds.to_string())
            .run(stage.folder)
            .with_context(|| format!("the {kind} of {}", row.name()))?;
    }
    Ok(())
}

const CHANGES: &str = "changes.yaml";
const MAINTAINER: &str = "the maintainers of etcd-rs <maintainers@localhost>";

/// What distributions want to read of a release; the whole story is CHANGELOG.md.
fn changes(stage: &Stage<'_>) -> Value {
    let note = format!("Release {}: see CHANGELOG.md of the source.", stage.release);
    let debian = json!({ "urgency": "medium", "distributions": ["stable"] });
    json!([{ "semver": stage.release, "date": date(stage.seconds), "packager": MAINTAINER, "deb": debian, "changes": [{ "note": note }] }])
}

fn nfpm() -> PathBuf {
    let brought = place::python_tools().join("nfpm");
    if brought.exists() { brought } else { "nfpm".into() }
}

fn description(kind: &str, word: &str, stage: &Stage<'_>, checkout: &Path) -> Value {
    let (dist, folder) = (checkout.join("dist"), stage.folder);
    let file = |source: PathBuf, target: String, mode: u32| json!({ "src": source, "dst": target, "file_info": { "mode": mode, "mtime": date(stage.seconds) } });
    // rpm tells documents from other files.
    let document = |source: PathBuf, target: String| {
        let mut file = file(source, target, 0o644);
        if kind == "rpm" {
            file["type"] = json!("doc");
        }
        file
    };
    let mut contents = Vec::new();
    for program in stage.programs {
        contents.push(file(folder.join("bin").join(program), format!("/usr/bin/{program}"), 0o755));
        contents.push(document(folder.join(format!("man/{program}.1.gz")), format!("/usr/share/man/man1/{program}.1.gz")));
    }
    for tool in stage.programs.iter().filter(|program| *program != "etcd") {
        for (shell, target) in completions(kind) {
            let target = target.replace("TOOL", tool);
            let source = folder.join(format!("completions/{tool}.{shell}"));
            contents.push(if shell == "ps1" { document(source, target) } else { file(source, target, 0o644) });
        }
    }
    contents.push(document(dist.join("copyright"), "/usr/share/doc/etcd/copyright".into()));
    if stage.has_server {
        contents.push(file(dist.join("systemd/etcd.service"), "/usr/lib/systemd/system/etcd.service".into(), 0o644));
        contents.push(file(dist.join("systemd/sysusers.conf"), "/usr/lib/sysusers.d/etcd.conf".into(), 0o644));
        contents.push(file(dist.join("systemd/tmpfiles.conf"), "/usr/lib/tmpfiles.d/etcd.conf".into(), 0o644));
        let mut settings = file(dist.join("etcd.conf.yml"), "/etc/etcd/etcd.conf.yml".into(), 0o644);
        // An edited file survives an upgrade.
        settings["type"] = json!("config|noreplace");
        contents.push(settings);
    }
    let scripts = |name: &str| dist.join("scripts").join(name);
    let scripts = if stage.has_server {
        json!({ "postinstall": scripts("postinstall.sh"), "preremove": scripts("preremove.sh"), "postremove": scripts("postremove.sh") })
    } else {
        json!({})
    };
    json!({
        "name": if stage.has_server { "etcd" } else { "etcd-client" },
        "arch": word,
        "platform": "linux",
        "version": stage.release,
        "version_schema": "semver",
        "release": "1",
        "section": "net",
        "priority": "optional",
        "maintainer": MAINTAINER,
        "description": "Distributed key-value store\n A store of keys and values that a cluster agrees on,\n with watches, leases and transactions.",
        "changelog": stage.folder.join(CHANGES),
        "rpm": { "group": "System Environment/Daemons" },
        "license": "Apache-2.0",
        "mtime": date(stage.seconds),
        "contents": contents,
        "scripts": scripts,
        "depends": depends(kind, stage.needs, stage.is_wide),
    })
}

/// The libraries that the programs were linked against, in the words of the package; static ones need nothing.
///
/// rpm names each version of a symbol as rpmbuild would; Debian's packages are named by hand, because the shared libraries of a
/// machine that builds a foreign row say nothing of Debian.
fn depends(kind: &str, needs: &Needs, is_wide: bool) -> Vec<String> {
    match kind {
        "deb" => deb_depends(needs),
        "rpm" => rpm_requires(needs, is_wide),
        _ => Vec::new(),
    }
}

fn deb_depends(needs: &Needs) -> Vec<String> {
    let has = |start: &str| needs.libraries.keys().any(|name| name.starts_with(start));
    let mut depends = Vec::new();
    if let Some(version) = needs.highest("GLIBC_") {
        depends.push(format!("libc6 (>= {version})"));
    }
    if has("libgcc_s.so") {
        depends.push("libgcc-s1 (>= 3.0)".to_owned());
    }
    if has("libstdc++.so") {
        // The release of GCC that brought the symbols.
        let release = needs.highest("GLIBCXX_").map_or("5", |version| match numbers(&version).last() {
            Some(..=25) => "9",
            Some(26..=28) => "10",
            Some(29) => "11",
            Some(30) => "12",
            Some(31..=32) => "13",
            _ => "14",
        });
        depends.push(format!("libstdc++6 (>= {release})"));
    }
    depends
}

fn rpm_requires(needs: &Needs, is_wide: bool) -> Vec<String> {
    let wide = if is_wide { "(64bit)" } else { "" };
    let mut requires = Vec::new();
    for (library, versions) in &needs.libraries {
        requires.push(format!("{library}(){wide}"));
        requires.extend(versions.iter().map(|version| format!("{library}({version}){wide}")));
    }
    requires
}

/// Where each shell looks on systems of this kind of package. PowerShell has no such place: its script lies with the documents.
fn completions(kind: &str) -> [(&'static str, &'static str); 4] {
    [
        ("bash", "/usr/share/bash-completion/completions/TOOL"),
        ("zsh", if kind == "deb" { "/usr/share/zsh/vendor-completions/_TOOL" } else { "/usr/share/zsh/site-functions/_TOOL" }),
        ("fish", "/usr/share/fish/vendor_completions.d/TOOL.fish"),
        ("ps1", "/usr/share/doc/etcd/completions/TOOL.ps1"),
    ]
}

fn date(seconds: u64) -> String {
    let form = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time::OffsetDateTime::from_unix_timestamp(seconds as i64).ok().and_then(|at| at.format(&form).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn needs() -> Needs {
        let versions = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Needs {
            libraries: BTreeMap::from([
                ("libc.so.6".into(), versions(&["GLIBC_2.17", "GLIBC_2.34"])),
                ("libgcc_s.so.1".into(), versions(&["GCC_3.0"])),
                ("libstdc++.so.6".into(), versions(&["CXXABI_1.3", "GLIBCXX_3.4.30"])),
            ]),
        }
    }

    fn described(kind: &str, programs: &[&str], has_server: bool) -> Value {
        let programs: Vec<String> = programs.iter().map(ToString::to_string).collect();
        let stage = Stage {
            folder: Path::new("/stage"),
            programs: &programs,
            has_server,
            release: "3.7.1",
            needs: &needs(),
            is_wide: true,
            seconds: 1_700_000_000,
        };
        description(kind, "ppc64el", &stage, &place::checkout())
    }

    fn targets(description: &Value) -> Vec<&str> {
        description["contents"].as_array().unwrap().iter().map(|content| content["dst"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_server_comes_with_its_unit_user_and_settings() {
        let description = described("deb", &["etcd", "etcdctl"], true);
        for wanted in ["/usr/bin/etcd", "/usr/lib/systemd/system/etcd.service", "/usr/lib/sysusers.d/etcd.conf", "/etc/etcd/etcd.conf.yml"]
        {
            assert!(targets(&description).contains(&wanted), "{wanted}");
        }
        let settings =
            description["contents"].as_array().unwrap().iter().find(|content| content["dst"] == "/etc/etcd/etcd.conf.yml").unwrap();
        assert_eq!(settings["type"], "config|noreplace");
        assert_eq!((description["arch"].as_str(), description["mtime"].as_str()), (Some("ppc64el"), Some("2023-11-14T22:13:20Z")));
    }

    #[test]
    fn a_package_wants_the_libraries_that_its_programs_were_linked_against() {
        let deb = described("deb", &["etcd"], true);
        assert_eq!(deb["depends"], json!(["libc6 (>= 2.34)", "libgcc-s1 (>= 3.0)", "libstdc++6 (>= 12)"]));
        let rpm = described("rpm", &["etcd"], true);
        let wanted = ["libc.so.6()(64bit)", "libc.so.6(GLIBC_2.34)(64bit)", "libstdc++.so.6(GLIBCXX_3.4.30)(64bit)"];
        for wanted in wanted {
            assert!(rpm["depends"].as_array().unwrap().contains(&json!(wanted)), "{rpm}");
        }
        assert_eq!(depends("deb", &Needs::default(), true), [""; 0]);
        assert_eq!(depends("apk", &needs(), true), [""; 0]);
    }

    #[test]
    fn completions_lie_where_the_shells_of_the_system_look() {
        for (kind, zsh) in [("deb", "/usr/share/zsh/vendor-completions/_etcdctl"), ("rpm", "/usr/share/zsh/site-functions/_etcdctl")] {
            let description = described(kind, &["etcd", "etcdctl"], true);
            assert!(targets(&description).contains(&zsh) && !targets(&description).iter().any(|target| target.ends_with("/_etcd")));
        }
    }

    #[test]
    fn clients_alone_bring_no_unit_and_run_no_script() {
        let description = described("deb", &["etcdctl"], false);
        assert!(targets(&description).iter().all(|target| !target.contains("systemd") && !target.starts_with("/etc")));
        assert_eq!(description["scripts"], json!({}));
    }

    #[test]
    fn every_file_that_a_package_takes_from_the_tree_is_there() {
        let description = described("deb", &[], true);
        for content in description["contents"].as_array().unwrap() {
            assert!(Path::new(content["src"].as_str().unwrap()).exists(), "{content}");
        }
        for script in description["scripts"].as_object().unwrap().values() {
            assert!(Path::new(script.as_str().unwrap()).exists(), "{script}");
        }
    }
}
