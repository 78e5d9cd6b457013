//! The image of `platforms/images`: the same command, run in it.
//!
//! ```text
//!   cargo ci build ROW --route cross   outside   docker build .. && docker run .. cargo ci build ROW --route cross
//!                                      inside    as zig does it: the image brings the same zig
//! ```
//!
//! Checkout and target directory have the same paths inside as outside, so that every path it prints can be opened.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{standard, zig};
use crate::matrix::{Matrix, Route};
use crate::shell::Step;
use crate::{doctor, place};

const IMAGE: &str = "etcd-ci";
const SOURCE: &str = "platforms/images";
/// The image's own home is `/etcd-ci`; what all checkouts share lies where it would lie there.
const CACHE: &str = "/etcd-ci/.cache/etcd-rs";

/// The images say so of themselves.
pub fn is_inside() -> bool {
    place::image_tools().is_some()
}

/// Runs `cargo ci` with these words in the image.
pub fn run(words: &[String]) -> Result<()> {
    let is_docker_here = Step::new("docker").args(["--version"]).first_line(Path::new("/")).is_some();
    ensure!(is_docker_here, "the route cross needs docker, and there is none; zig builds the same without it: --route zig");
    let matrix = Matrix::load(&place::checkout())?;
    let target = std::path::absolute(place::target().join("image"))?;
    let mut shared = vec![place::checkout(), target.clone()];
    let git = Step::new("git").args(["rev-parse", "--path-format=absolute", "--git-common-dir"]).first_line(&place::checkout());
    // A work tree has its history elsewhere.
    shared.extend(git.map(PathBuf::from).filter(|folder| !folder.starts_with(place::checkout())));
    // docker would make them root's.
    for folder in [&target, &place::cache()] {
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    }
    let id = |flag: &str| Step::new("id").args([flag]).first_line(Path::new("/"));
    let user = id("-u").zip(id("-g")).map(|(user, group)| format!("{user}:{group}"));
    build(&matrix).run(&place::checkout())?;
    inside(&shared, &target, user.as_deref(), words).run(&place::checkout()).map(drop)
}

/// Versions and packages are written down in one place each, and it is not the image's.
fn build(matrix: &Matrix) -> Step {
    let rows = matrix.rows.iter().filter(|row| row.routes.get_ref().contains(&Route::Cross));
    let mut packages: Vec<&str> = standard::PACKAGES.to_vec();
    for row in rows {
        packages.extend(row.gcc.iter().flat_map(|gcc| &gcc.install).chain(&row.runner.install).map(String::as_str));
    }
    packages.sort_unstable();
    packages.dedup();
    let tools = [&zig::PACKAGES[..], &[doctor::NFPM]].concat();
    let argument = |name: &str, words: &[&str]| format!("{name}={}", words.join(" "));
    Step::new("docker")
        .args(["build", "--tag", IMAGE])
        .args(["--build-arg", &argument("PYTHON_TOOLS", &tools), "--build-arg", &argument("PACKAGES", &packages)])
        .args([SOURCE])
}

fn inside(shared: &[PathBuf], target: &Path, user: Option<&str>, words: &[String]) -> Step {
    let mut step = Step::new("docker").args(["run", "--rm"]);
    if let Some(user) = user {
        step = step.args(["--user", user]);
    }
    for folder in shared {
        step = step.args(["--volume".to_owned(), format!("{0}:{0}", folder.display())]);
    }
    step.args(["--volume".to_owned(), format!("{}:{CACHE}", place::cache().display())])
        .args(["--env".to_owned(), format!("CARGO_TARGET_DIR={}", target.display())])
        .args(["--workdir".to_owned(), place::checkout().display().to_string(), IMAGE.to_owned()])
        .args(["cargo", "ci"])
        .args(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_command_is_run_in_the_image_with_the_checkout_and_the_cache() {
        let words: Vec<String> = "build linux-s390x --route cross".split(' ').map(str::to_owned).collect();
        let (checkout, cache) = (place::checkout(), place::cache());
        let (checkout, cache) = (checkout.display(), cache.display());
        let line = inside(&[place::checkout(), "/target".into()], Path::new("/target"), Some("1000:100"), &words).line();
        let wanted = format!(
            "docker run --rm --user 1000:100 --volume {checkout}:{checkout} --volume /target:/target --volume {cache}:{CACHE} \
             --env CARGO_TARGET_DIR=/target --workdir {checkout} etcd-ci cargo ci build linux-s390x --route cross"
        );
        assert_eq!(line, wanted);
    }

    #[test]
    fn the_image_is_told_every_version_and_takes_it() {
        let line = build(&Matrix::load(&place::checkout()).unwrap()).line();
        assert!(line.starts_with("docker build --tag etcd-ci --build-arg ") && line.ends_with(" platforms/images"), "{line}");
        for wanted in zig::PACKAGES.iter().chain([&doctor::NFPM, &"qemu-user-static", &"g++-s390x-linux-gnu", &"rust-web-src"]) {
            assert!(line.contains(wanted), "{wanted} is not in {line}");
        }
        assert!(!line.contains("wine"), "a row without the route brings nothing: {line}");
        let file = fs::read_to_string(place::checkout().join(SOURCE).join("Dockerfile")).unwrap();
        for name in ["PYTHON_TOOLS", "PACKAGES"] {
            assert!(file.contains(&format!("ARG {name}\n")) && file.contains(&format!("${name}")), "{name}");
        }
        assert!(file.contains("cargo ci build linux-s390x --route cross") && file.contains("ENV ETCD_CI_IMAGE="), "{file}");
    }
}
