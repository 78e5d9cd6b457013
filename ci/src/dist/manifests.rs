//! What package managers want to know of a release, made from its checksums: Homebrew, Scoop, winget, Nix.
//!
//! ```text
//!   SHA256SUMS + matrix + address --> manifests/homebrew/etcd-rs.rb, scoop/etcd-rs.json, winget/*.yaml, nix/default.nix
//! ```
//!
//! An archive that is not on the list is in no manifest; a manager without any archive has no manifest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::sums;
use crate::matrix::{Matrix, Row};
use crate::run::release;

/// The package by a name of its own: `etcd` is the other project's.
const NAME: &str = "etcd-rs";
const WORDS: &str = "Distributed key-value store: a drop-in for etcd, with etcdctl and etcdutl";
const PROGRAMS: [&str; 3] = ["etcd", "etcdctl", "etcdutl"];

/// An archive of the release that is on the list.
struct Listed<'a> {
    row: &'a Row,
    file: String,
    sha256: String,
}

impl Listed<'_> {
    /// The folder that it unpacks into.
    fn folder(&self) -> &str {
        self.file.trim_end_matches(&format!(".{}", self.row.archive.ending()))
    }
}

struct Release<'a> {
    version: String,
    /// Where its files are: `https://example.org/releases/download/v3.7.1`.
    address: &'a str,
    archives: Vec<Listed<'a>>,
}

pub fn write(matrix: &Matrix, folder: &Path, address: &str) -> Result<()> {
    ensure!(address.starts_with("https://"), "{address:?} is no address that a package manager would fetch from: https:// is");
    let list = fs::read_to_string(folder.join(sums::NAME)).with_context(|| format!("failed to read {}", sums::NAME))?;
    let manifests = Release::new(matrix, &list, address.trim_end_matches('/'))?.manifests();
    ensure!(!manifests.is_empty(), "{} lists no archive of this release", sums::NAME);
    let root = folder.join("manifests");
    let _ = fs::remove_dir_all(&root);
    for (name, text) in manifests {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&root))?;
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

impl<'a> Release<'a> {
    fn new(matrix: &'a Matrix, list: &str, address: &'a str) -> Result<Release<'a>> {
        let version = release()?;
        let sums: BTreeMap<&str, &str> = list.lines().filter_map(|line| line.split_once("  ")).map(|(sum, name)| (name, sum)).collect();
        let archives = matrix.rows.iter().filter_map(|row| {
            let file = format!("etcd-v{version}-{}.{}", row.name(), row.archive.ending());
            let sha256 = sums.get(file.as_str())?.to_string();
            Some(Listed { row, file, sha256 })
        });
        Ok(Release { archives: archives.collect(), version, address })
    }

    fn of(&self, name: &str) -> Option<&Listed<'a>> {
        self.archives.iter().find(|listed| listed.row.name() == name)
    }

    fn url(&self, listed: &Listed<'_>) -> String {
        format!("{}/{}", self.address, listed.file)
    }

    /// The project's own page: the address up to its releases.
    fn home(&self) -> &str {
        self.address.split("/releases").next().unwrap_or(self.address)
    }

    fn manifests(&self) -> Vec<(String, String)> {
        let mut manifests = Vec::new();
        manifests.extend(self.homebrew().map(|text| (format!("homebrew/{NAME}.rb"), text)));
        manifests.extend(self.scoop().map(|text| (format!("scoop/{NAME}.json"), text)));
        manifests.extend(self.winget());
        manifests.extend(self.nix().map(|text| ("nix/default.nix".to_owned(), text)));
        manifests
    }

    fn homebrew(&self) -> Option<String> {
        let block = |name: &str| {
            let listed = self.of(name)?;
            let (_, processor) = name.split_once('-')?;
            let word = if processor == "arm64" { "on_arm" } else { "on_intel" };
            Some(format!("    {word} do\n      url \"{}\"\n      sha256 \"{}\"\n    end\n", self.url(listed), listed.sha256))
        };
        let system = |word: &str, names: [&str; 2]| {
            let blocks: String = names.iter().filter_map(|name| block(name)).collect();
            if blocks.is_empty() { String::new() } else { format!("\n  {word} do\n{blocks}  end\n") }
        };
        let systems = system("on_macos", ["darwin-arm64", "darwin-amd64"]) + &system("on_linux", ["linux-arm64", "linux-amd64"]);
        if systems.is_empty() {
            return None;
        }
        Some(format!(
            r##"class EtcdRs < Formula
  desc "{WORDS}"
  homepage "{home}"
  version "{version}"
  license "Apache-2.0"
{systems}
  conflicts_with "etcd", because: "both install etcd, etcdctl and etcdutl"

  def install
    bin.install "etcd", "etcdctl", "etcdutl"
    man1.install Dir["Documentation/man/*.1"]
    %w[etcdctl etcdutl].each do |tool|
      bash_completion.install "Documentation/completions/#{{tool}}.bash" => tool
      zsh_completion.install "Documentation/completions/#{{tool}}.zsh" => "_#{{tool}}"
      fish_completion.install "Documentation/completions/#{{tool}}.fish"
    end
    doc.install Dir["README*.md"], "Documentation"
  end

  service do
    run [opt_bin/"etcd"]
    keep_alive true
    working_dir var
  end

  test do
    port = free_port
    peer = free_port
    etcd = spawn bin/"etcd", "--data-dir", testpath/"data",
                 "--listen-client-urls", "http://127.0.0.1:#{{port}}", "--advertise-client-urls", "http://127.0.0.1:#{{port}}",
                 "--listen-peer-urls", "http://127.0.0.1:#{{peer}}", "--initial-advertise-peer-urls", "http://127.0.0.1:#{{peer}}",
                 "--initial-cluster", "default=http://127.0.0.1:#{{peer}}"
    system "curl", "--silent", "--retry", "30", "--retry-connrefused", "--retry-delay", "1", "http://127.0.0.1:#{{port}}/health"
    system bin/"etcdctl", "--endpoints", "127.0.0.1:#{{port}}", "put", "brew", "works"
    assert_equal "brew\nworks\n", shell_output("#{{bin}}/etcdctl --endpoints 127.0.0.1:#{{port}} get brew")
  ensure
    Process.kill "TERM", etcd
    Process.wait etcd
  end
end
"##,
            home = self.home(),
            version = self.version,
        ))
    }

    fn scoop(&self) -> Option<String> {
        let mut architectures = serde_json::Map::new();
        for (word, name) in [("64bit", "windows-amd64"), ("arm64", "windows-arm64")] {
            if let Some(listed) = self.of(name) {
                let facts = json!({ "url": self.url(listed), "hash": listed.sha256, "extract_dir": listed.folder() });
                architectures.insert(word.to_owned(), facts);
            }
        }
        if architectures.is_empty() {
            return None;
        }
        let programs = PROGRAMS.map(|name| format!("{name}.exe"));
        let manifest = json!({
            "version": self.version,
            "description": WORDS,
            "homepage": self.home(),
            "license": "Apache-2.0",
            "architecture": architectures,
            "bin": programs,
        });
        serde_json::to_string_pretty(&manifest).ok().map(|text| text + "\n")
    }

    fn winget(&self) -> Vec<(String, String)> {
        let mut installers = String::new();
        for (word, name) in [("x64", "windows-amd64"), ("arm64", "windows-arm64")] {
            let Some(listed) = self.of(name) else { continue };
            installers.push_str(&format!(
                "- Architecture: {word}\n  InstallerUrl: {}\n  InstallerSha256: {}\n  NestedInstallerFiles:\n",
                self.url(listed),
                listed.sha256.to_uppercase()
            ));
            for program in PROGRAMS {
                installers
                    .push_str(&format!("  - RelativeFilePath: {}\\{program}.exe\n    PortableCommandAlias: {program}\n", listed.folder()));
            }
        }
        if installers.is_empty() {
            return Vec::new();
        }
        let id = format!("{NAME}.etcd");
        let manifest = |kind: &str, rest: &str| {
            let version = &self.version;
            format!("PackageIdentifier: {id}\nPackageVersion: {version}\n{rest}ManifestType: {kind}\nManifestVersion: 1.6.0\n")
        };
        let locale = format!(
            "PackageLocale: en-US\nPublisher: {NAME}\nPackageName: {NAME}\nPackageUrl: {}\nLicense: Apache-2.0\nShortDescription: {:?}\n",
            self.home(),
            WORDS
        );
        let installer = format!("InstallerType: zip\nNestedInstallerType: portable\nInstallers:\n{installers}");
        vec![
            (format!("winget/{id}.yaml"), manifest("version", "DefaultLocale: en-US\n")),
            (format!("winget/{id}.installer.yaml"), manifest("installer", &installer)),
            (format!("winget/{id}.locale.en-US.yaml"), manifest("defaultLocale", &locale)),
        ]
    }

    /// Static programs run on NixOS as they are; those of a libc would look for it where it is not.
    fn nix(&self) -> Option<String> {
        let systems = [
            ("x86_64-linux", "linux-amd64-musl"),
            ("aarch64-linux", "linux-arm64-musl"),
            ("x86_64-darwin", "darwin-amd64"),
            ("aarch64-darwin", "darwin-arm64"),
        ];
        let sources: String = systems
            .iter()
            .filter_map(|(system, name)| Some((system, self.of(name)?)))
            .map(|(system, listed)| {
                format!("    {system} = {{\n      url = \"{}\";\n      sha256 = \"{}\";\n    }};\n", self.url(listed), listed.sha256)
            })
            .collect();
        if sources.is_empty() {
            return None;
        }
        Some(format!(
            r#"{{ pkgs ? import <nixpkgs> {{ }} }}:

let
  sources = {{
{sources}  }};
  system = pkgs.stdenv.hostPlatform.system;
in
pkgs.stdenvNoCC.mkDerivation {{
  pname = "{NAME}";
  version = "{version}";
  src = pkgs.fetchurl (sources.${{system}} or (throw "{NAME} has no archive for ${{system}}"));
  nativeBuildInputs = [ pkgs.installShellFiles pkgs.unzip ];
  dontConfigure = true;
  dontBuild = true;
  installPhase = ''
    runHook preInstall
    install -Dm755 -t $out/bin etcd etcdctl etcdutl
    installManPage Documentation/man/*.1
    for tool in etcdctl etcdutl; do
      installShellCompletion --cmd $tool \
        --bash Documentation/completions/$tool.bash \
        --zsh Documentation/completions/$tool.zsh \
        --fish Documentation/completions/$tool.fish
    done
    runHook postInstall
  '';
  meta = {{
    description = "{WORDS}";
    homepage = "{home}";
    license = pkgs.lib.licenses.asl20;
    mainProgram = "etcd";
    platforms = builtins.attrNames sources;
    sourceProvenance = [ pkgs.lib.sourceTypes.binaryNativeCode ];
  }};
}}
"#,
            version = self.version,
            home = self.home(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place;

    const ADDRESS: &str = "https://example.org/etcd-rs/releases/download/v1";

    fn list(names: &[&str]) -> String {
        let (matrix, version) = (Matrix::load(&place::checkout()).unwrap(), release().unwrap());
        let line = |name: &&str| {
            let row = matrix.row(name).unwrap();
            format!("{}  etcd-v{version}-{name}.{}\n", crate::digest::of_bytes(name.as_bytes()), row.archive.ending())
        };
        names.iter().map(line).collect()
    }

    fn manifests(names: &[&str]) -> BTreeMap<String, String> {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        Release::new(&matrix, &list(names), ADDRESS).unwrap().manifests().into_iter().collect()
    }

    const ALL: [&str; 8] = [
        "linux-amd64",
        "linux-arm64",
        "linux-amd64-musl",
        "linux-arm64-musl",
        "darwin-arm64",
        "darwin-amd64",
        "windows-amd64",
        "windows-arm64",
    ];

    #[test]
    fn every_archive_that_a_manager_knows_is_there_with_its_address_and_sum() {
        let manifests = manifests(&ALL);
        let all: String = manifests.values().cloned().collect();
        for line in list(&ALL).lines() {
            let (sum, name) = line.split_once("  ").unwrap();
            assert!(all.contains(&format!("{ADDRESS}/{name}")), "{name}");
            assert!(all.contains(sum) || all.contains(&sum.to_uppercase()), "{name}");
        }
        assert!(manifests["homebrew/etcd-rs.rb"].contains("homepage \"https://example.org/etcd-rs\"\n"));
        let scoop: serde_json::Value = serde_json::from_str(&manifests["scoop/etcd-rs.json"]).unwrap();
        let folder = format!("etcd-v{}-windows-amd64", release().unwrap());
        assert_eq!(
            (scoop["architecture"]["64bit"]["extract_dir"].as_str(), scoop["bin"][2].as_str()),
            (Some(&folder[..]), Some("etcdutl.exe"))
        );
        assert!(manifests["winget/etcd-rs.etcd.installer.yaml"].contains(&format!("- RelativeFilePath: {folder}\\etcd.exe\n")));
    }

    #[test]
    fn what_was_not_built_is_in_no_manifest() {
        let manifests = manifests(&["linux-amd64", "darwin-arm64"]);
        let names: Vec<&str> = manifests.keys().map(String::as_str).collect();
        assert_eq!(names, ["homebrew/etcd-rs.rb", "nix/default.nix"]);
        assert!(!manifests["homebrew/etcd-rs.rb"].contains("linux-arm64") && !manifests["nix/default.nix"].contains("x86_64-linux"));
    }

    #[test]
    fn a_list_of_another_release_makes_nothing() {
        let matrix = Matrix::load(&place::checkout()).unwrap();
        let release = Release::new(&matrix, "00  etcd-v0.0.1-linux-amd64.tar.gz\n", ADDRESS).unwrap();
        assert!(release.manifests().is_empty());
    }
}
