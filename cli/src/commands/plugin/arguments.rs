//! Options of `mozdef plugin`, with the help that teaches them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `mozdef plugin`.
#[derive(Debug, Subcommand)]
#[command(after_help = "From nothing to a plugin on live events:\n  \
    mozdef plugin new --lang python vpn     vpn/vpn.py with a plugin to change, vpn/vpn.cases.jsonl\n  \
    mozdef plugin build vpn/vpn.py          vpn.wasm\n  \
    mozdef plugin test vpn.wasm --cases vpn/vpn.cases.jsonl\n  \
    mkdir plugins; mozdef up --plugins plugins &\n  \
    mozdef plugin push vpn.wasm --plugins plugins\n  \
    mozdef plugin list --plugins plugins")]
pub(crate) enum Plugin {
    /// Make a plugin to start from, with its test cases.
    New(New),
    /// Turn a Python file or a Cargo project into a `.wasm` file.
    Build(Build),
    /// Run a plugin on cases (input and expected output) and show what differs.
    Test(Test),
    /// Measure what a plugin costs for each event, by size of batch.
    Bench(Bench),
    /// Show what a `.wasm` file is: size, imports, exports, and what it says of itself.
    Inspect(Inspect),
    /// List the plugins of a folder: version, digest, state, and how they fare in a running MozDef.
    List(List),
    /// Check a plugin, run its tests, and put it into the folder that a running MozDef watches.
    Push(Push),
    /// Let a plugin run no more; its file stays.
    Disable(Named),
    /// Let a disabled plugin run again.
    Enable(Named),
    /// Put an earlier version back.
    Rollback(Rollback),
}

/// Languages of plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// MozDef's own shape: a class `message`.
    Python,
    /// A trait and a macro; small and fast.
    Rust,
}

/// Options of `mozdef plugin new`.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Its name: a folder of this name is made here.
    pub name: String,
    /// In which language.
    #[arg(long, value_enum)]
    pub lang: Language,
}

/// Options of `mozdef plugin build`.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// A `.py` file with a class `message`; or the folder of a Cargo project; or a core module (`.wasm`).
    pub source: PathBuf,
    /// Where the component goes; `NAME.wasm` here by default.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Features of the Cargo project, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub features: Vec<String>,
    /// The plugin's version, where the source does not say it (Python).
    #[arg(long, default_value = "0.1.0")]
    pub plugin_version: String,
}

/// Options of `mozdef plugin test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The plugin.
    pub file: PathBuf,
    /// Case files: one JSON object a line with `name`, `input` and `expected` (null: dropped), and, where they matter,
    /// `metadata_in`, `metadata_out` (`index`, `id`) and `now`. By default `NAME.cases.jsonl` or `cases.jsonl` beside the
    /// plugin.
    #[arg(long, value_name = "FILE")]
    pub cases: Vec<PathBuf>,
    /// Print `{"passed": N, "failed": N, "cases": […]}`.
    #[arg(long)]
    pub json: bool,
}

/// Options of `mozdef plugin bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The plugin.
    pub file: PathBuf,
    /// Events in normal form, one a line; inputs of a case file will do. Without them one of 600 bytes.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Sizes of batches.
    #[arg(long, value_name = "N", default_values_t = [1, 16, 128, 1024], value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub batch: Vec<u64>,
    /// Print `[{"batch": N, "events_per_cpu_second": N, "microseconds": N}, …]`.
    #[arg(long)]
    pub json: bool,
}

/// Options of `mozdef plugin inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The file.
    pub file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `mozdef plugin list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The folder; by default `normalize.plugins.folder` of the configuration.
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Ask the running process with this admin address; by default that of the configuration.
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
    /// Print `[{"name": …, "version": …, "digest": …, "state": …, …}, …]`.
    #[arg(long)]
    pub json: bool,
}

/// Options of `mozdef plugin push`.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The plugin.
    pub file: PathBuf,
    /// The folder; by default `normalize.plugins.folder` of the configuration.
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Case files that must pass; by default those beside the plugin, as for `mozdef plugin test`.
    #[arg(long, value_name = "FILE")]
    pub cases: Vec<PathBuf>,
    /// Push it though there are no cases.
    #[arg(long)]
    pub untested: bool,
    /// File with an Ed25519 secret key (64 hexadecimal digits) to sign it with; without it, `NAME.wasm.sig` beside the
    /// plugin is its signature. Make a key with `openssl rand -hex 32`.
    #[arg(long, value_name = "FILE")]
    pub sign_key: Option<PathBuf>,
}

/// Options of `mozdef plugin disable` and `enable`.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The plugin's name.
    pub name: String,
    /// The folder; by default `normalize.plugins.folder` of the configuration.
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
}

/// Options of `mozdef plugin rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The plugin's name.
    pub name: String,
    /// The beginning of the digest of the version; by default the one before.
    pub digest: Option<String>,
    /// The folder; by default `normalize.plugins.folder` of the configuration.
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
}
