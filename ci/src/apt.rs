//! Debian's packages, and who may install them: root, or whoever `sudo` takes for root without asking for a password.

use std::path::Path;

use crate::shell::Step;

/// What installs the packages, as this user.
pub fn install(packages: &[&str]) -> Vec<Step> {
    install_as(is_root(), packages)
}

fn install_as(is_root: bool, packages: &[&str]) -> Vec<Step> {
    const QUIET: &str = "DEBIAN_FRONTEND=noninteractive";
    // sudo forgets the variables of who calls it, so they are words of its command.
    let begin = if is_root { Step::new("env") } else { Step::new("sudo").args(["-n", "env"]) };
    let apt = || begin.clone().args([QUIET, "apt-get"]);
    vec![apt().args(["update"]), apt().args(["install", "--yes", "--no-install-recommends"]).args(packages)]
}

/// Whether this user may, on a machine that has such packages.
pub fn can_install() -> bool {
    is_here() && (is_root() || Step::new("sudo").args(["-n", "true"]).first_line(Path::new("/")).is_some())
}

/// Whether the machine has such packages at all.
pub fn is_here() -> bool {
    Step::new("apt-get").args(["--version"]).first_line(Path::new("/")).is_some()
}

fn is_root() -> bool {
    Step::new("id").args(["-u"]).first_line(Path::new("/")).as_deref() == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_root_installs_through_sudo_and_is_never_asked() {
        let lines = |is_root| install_as(is_root, &["strace", "g++"]).iter().map(Step::line).collect::<Vec<_>>();
        let [update, install] = ["apt-get update", "apt-get install --yes --no-install-recommends strace g++"];
        let quiet = "env DEBIAN_FRONTEND=noninteractive";
        assert_eq!(lines(true), [format!("{quiet} {update}"), format!("{quiet} {install}")]);
        assert_eq!(lines(false), [format!("sudo -n {quiet} {update}"), format!("sudo -n {quiet} {install}")]);
    }
}
