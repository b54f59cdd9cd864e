//! `tidelog completions` and `tidelog man`: made from the command line itself, so never out of
//! date.

use std::fs;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::exit::{Exit, Failure};
use super::output::print;

/// `tidelog completions`.
pub fn completions_command() -> Command {
    Command::new("completions")
        .about("Prints completions for a shell")
        .long_about(
            "Prints completions for a shell:\n\n  \
             bash: tidelog completions bash > ~/.local/share/bash-completion/completions/tidelog\n  \
             zsh:  tidelog completions zsh > \"${fpath[1]}/_tidelog\"\n  \
             fish: tidelog completions fish > ~/.config/fish/completions/tidelog.fish",
        )
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(value_parser!(Shell))
                .help("For this shell"),
        )
}

/// `tidelog man`.
pub fn man_command() -> Command {
    Command::new("man")
        .about("Prints the manual page, or writes a page for every command into a directory")
        .arg(
            Arg::new("directory")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Where the pages go, for example /usr/local/share/man/man1"),
        )
}

/// Prints completions.
pub fn completions(args: &ArgMatches) -> Result<(), Failure> {
    let Some(shell) = args.get_one::<Shell>("shell") else { return Ok(()) };
    let mut text = Vec::new();
    clap_complete::generate(*shell, &mut super::command(), "tidelog", &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// Prints or writes manual pages.
pub fn man(args: &ArgMatches) -> Result<(), Failure> {
    let failed = |error| Failure::new(Exit::Internal, format!("no manual page: {error}"));
    let Some(directory) = args.get_one::<PathBuf>("directory") else {
        let mut page = Vec::new();
        clap_mangen::Man::new(super::command()).render(&mut page).map_err(failed)?;
        return print(&String::from_utf8_lossy(&page));
    };
    let wrong = |error| Failure::file(directory.display(), &error);
    fs::create_dir_all(directory).map_err(wrong)?;
    clap_mangen::generate_to(super::command(), directory).map_err(wrong)
}
