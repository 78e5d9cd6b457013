//! The cross compilers of the distribution.

use std::path::Path;

use anyhow::{Context, Result};

use super::Recipe;
use crate::matrix::{Gcc, Row};
use crate::shell::Step;

fn tool(gcc: &Gcc, name: &str) -> String {
    let suffix = if name == "ar" { "" } else { gcc.suffix.as_str() };
    format!("{}{name}{suffix}", gcc.prefix)
}

pub fn is_here(row: &Row) -> bool {
    row.gcc.as_ref().is_some_and(|gcc| {
        ["gcc", "g++"].iter().all(|name| Step::new(tool(gcc, name)).args(["--version"]).first_line(Path::new("/")).is_some())
    })
}

pub fn prepare(recipe: &mut Recipe, rustflags: &mut Vec<String>) -> Result<()> {
    let gcc = recipe.row.gcc.clone().context("the row has no table gcc")?;
    recipe.set_for_target("CC", tool(&gcc, "gcc"));
    recipe.set_for_target("CXX", tool(&gcc, "g++"));
    recipe.set_for_target("AR", tool(&gcc, "ar"));
    recipe.set_cargo("LINKER", tool(&gcc, "gcc"));
    for (name, value) in &gcc.vars {
        recipe.set(name, value);
    }
    rustflags.extend(gcc.rustflags.iter().cloned());
    recipe.compiler = tool(&gcc, "g++").into();
    Ok(())
}
