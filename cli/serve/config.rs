//! The file of `pq serve --config`: the options of the command line, by their names.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::args::Settings;
use crate::exit::{Failure, Outcome};
use crate::files;
use crate::units::ByteCount;
use crate::values;

/// The largest file that is read.
const LIMIT: u64 = 1 << 20;

/// Reads a file.
///
/// # Errors
/// It cannot be read, a field is unknown or holds something else: the file, the line and the field.
pub(super) fn open(path: &Path) -> Outcome<Settings> {
    let refused = |why: String| Failure::input(why).of_file(path);
    let size = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
    if size > LIMIT {
        return Err(refused(format!("expected at most {LIMIT} bytes, found {size}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    Ok(parse(&text).map_err(refused)?.beside(files::folder_of(path)))
}

fn parse(text: &str) -> Result<Settings, String> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        format!("line {line}: {}; see pq serve --help", error.message())
    })
}

impl Settings {
    /// The same, with paths that start at a folder.
    fn beside(mut self, folder: &Path) -> Self {
        let files = [&mut self.key, &mut self.clients, &mut self.client_ca, &mut self.quota];
        let certificates = [&mut self.tls_cert, &mut self.tls_key];
        let files = files.into_iter().chain(certificates);
        let files = files.chain([&mut self.web_cert, &mut self.web_key]);
        for path in files.flatten() {
            *path = folder.join(&*path);
        }
        for net in &mut self.nets {
            // As on the command line: a name ends at an equals sign, and has no slash.
            let named = net.split_once('=').filter(|(name, _)| !name.contains('/'));
            *net = match named {
                Some((name, path)) => format!("{name}={}", joined(folder, path)),
                None => joined(folder, net),
            };
        }
        self
    }
}

fn joined(folder: &Path, path: &str) -> String {
    let path: PathBuf = folder.join(path);
    path.to_string_lossy().into_owned()
}

/// A number, or a text as on the command line.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Integer(i64),
    Float(f64),
    Text(String),
}

/// A value that is read as the command line's is.
fn word<'de, D: Deserializer<'de>, T>(
    from: D,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = match Word::deserialize(from).map_err(|_| D::Error::custom("expected one value"))? {
        Word::Integer(number) => number.to_string(),
        Word::Float(number) => number.to_string(),
        Word::Text(text) => text,
    };
    let value = read(&text).map_err(|why| D::Error::custom(format_args!("{why}, found {text}")))?;
    Ok(Some(value))
}

pub(super) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    word(from, values::seconds)
}

pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    word(from, values::address)
}

pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ByteCount>, D::Error> {
    word(from, ByteCount::from_str)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::log::Format;
    use crate::serve::Args;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn line(words: &[&str]) -> Args {
        Command::parse_from([&["serve"], words].concat()).args
    }

    const FILE: &str = "\
        nets = [\"lenet=nets/lenet\", \"/nets/r20\"]\n\
        listen = \"0.0.0.0:7000\"\nkey = \"server.pem\"\nclients = \"/etc/clients\"\n\
        tls-cert = \"chain.pem\"\ntls-key = \"key.pem\"\nclient-ca = \"ca.pem\"\n\
        admin = \"127.0.0.1:7001\"\nquota = \"used\"\nmax-memory = \"8G\"\nqueue = 3\n\
        queue-time = 1.5\nauth-time = 2\nidle = 60\ntimeout = \"20\"\nmin-rate = 1000\n\
        grace = 5\nlog-format = \"text\"\n";

    #[test]
    fn a_file_says_what_the_command_line_does_and_the_command_line_goes_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serve.toml");
        std::fs::write(&path, FILE).unwrap();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (config, lenet) = (file("serve.toml"), format!("lenet={}", file("nets/lenet")));
        let (key, used) = (file("server.pem"), file("used"));
        let [chain, chain_key, ca] = ["chain.pem", "key.pem", "ca.pem"].map(file);
        let said = line(&[
            &lenet,
            "/nets/r20",
            "--listen",
            "0.0.0.0:7000",
            "--key",
            &key,
            "--clients",
            "/etc/clients",
            "--tls-cert",
            &chain,
            "--tls-key",
            &chain_key,
            "--client-ca",
            &ca,
            "--admin",
            "127.0.0.1:7001",
            "--quota",
            &used,
            "--max-memory",
            "8G",
            "--queue",
            "3",
            "--queue-time",
            "1.5",
            "--auth-time",
            "2",
            "--idle",
            "60",
            "--timeout",
            "20",
            "--min-rate",
            "1000",
            "--grace",
            "5",
        ]);
        let options = |args: &Args| args.settings().and_then(Settings::options);
        let told = |args: &Args| format!("{:?}", options(args).unwrap());
        assert_eq!(told(&line(&["--config", &config])), told(&said));
        let other = options(&line(&["--config", &config, "--queue", "9", "a=/b"])).unwrap();
        assert_eq!((other.queue, other.models.len()), (9, 1));
        assert_eq!(line(&["--config", &config]).settings().unwrap().log_format(), Format::Text);
        let said = line(&["--config", &config, "--log-format", "json"]);
        assert_eq!(said.settings().unwrap().log_format(), Format::Json);
        parse(include_str!("../../deploy/serve.toml")).unwrap();
        let none = options(&line(&[])).unwrap_err().to_string();
        assert!(none.contains("NET") && none.contains("--config"), "{none}");
    }

    #[test]
    fn what_a_file_may_not_say_is_named_with_its_line() {
        for (text, parts) in [
            ("queue = 1\nlistn = \"a:1\"", ["line 2", "listn", "listen"]),
            ("\n\nlisten = \"nowhere\"", ["line 3", "HOST:PORT", "nowhere"]),
            ("grace = -1", ["line 1", "seconds", "-1"]),
            ("max-memory = \"1T\"", ["line 1", "bytes", "1T"]),
            ("nets = 1", ["line 1", "integer", "sequence"]),
            ("idle = [1]", ["line 1", "value", "expected"]),
            ("queue = 1\nqueue = 2", ["line 2", "duplicate", "key"]),
            ("min-rate = 0", ["line 1", "nonzero", "0"]),
            ("log-format = \"xml\"", ["line 1", "xml", "json"]),
        ] {
            let error = parse(text).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{part} is missing in: {error}");
            }
        }
        let missing = open(Path::new("/no/such/serve.toml")).unwrap_err().to_string();
        assert!(missing.contains("/no/such/serve.toml"), "{missing}");
    }
}
