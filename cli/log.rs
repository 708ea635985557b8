//! The log of a service: a line on stderr for each event of `tracing`.
//!
//! Lines are our own, and not `tracing-subscriber`'s: names of fields are documented, fields that
//! have no value are there as null, and what a peer has said is escaped as everywhere else.

use std::fmt::{self, Write};

use protocols::printable::Printable;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Registry};

use crate::console::{Verbosity, say, to_json_line, verbosity};
use crate::exit::{Failure, Outcome};

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// An object of JSON a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// What says which events are logged, as `tracing` writes it.
const VARIABLE: &str = "PQ_LOG";
/// What events of this program, library included, are told apart by.
const OWN: &str = "pq";

/// Logs what happens from here on, in all threads.
///
/// # Errors
/// `PQ_LOG` is no filter.
pub(crate) fn start(format: Format) -> Outcome<()> {
    let subscriber = Registry::default().with(filter()?).with(Lines(format));
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| Failure::internal(format_args!("the log was begun before: {error}")))
}

fn filter() -> Outcome<EnvFilter> {
    let usual = match verbosity() {
        // A panic is told to everybody.
        Verbosity::Quiet => "pq=error",
        Verbosity::Usual => "pq=info",
        Verbosity::Verbose => "pq=debug",
    };
    let said = std::env::var_os(VARIABLE).filter(|said| !said.is_empty());
    // The command line goes before the environment.
    let said = said.filter(|_| verbosity() != Verbosity::Quiet);
    let said = said.map_or_else(|| usual.into(), |said| said.to_string_lossy().into_owned());
    EnvFilter::builder().with_regex(false).parse(&said).map_err(|error| {
        Failure::usage(format_args!(
            "{VARIABLE}: expected levels, such as pq=debug or pq::serve=trace, found {said:?}: \
             {error}"
        ))
    })
}

/// Writes events as lines.
struct Lines(Format);

/// Fields of an event or a span, in their order.
#[derive(Default)]
struct Fields {
    all: Vec<(&'static str, Value)>,
    message: String,
}

/// What every line has.
#[derive(Serialize)]
struct Line<'a> {
    /// Seconds since 1970.
    time: f64,
    level: &'a str,
    event: &'a str,
    #[serde(flatten)]
    fields: &'a Fields,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::of(attributes.metadata());
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::of(event.metadata());
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.inherit(outer);
            }
        }
        self.write(event.metadata(), &mut fields);
    }
}

impl Lines {
    fn write(&self, of: &Metadata<'_>, fields: &mut Fields) {
        let message = std::mem::take(&mut fields.message);
        let own = of.target().split("::").next() == Some(OWN);
        // Of others, nobody knows what a message says: it is no name.
        if !own {
            fields.all.push(("target", of.target().into()));
            fields.all.push(("message", message.clone().into()));
        }
        let (event, now) = (if own { &message } else { "other" }, OffsetDateTime::now_utc());
        match self.0 {
            Format::Json => {
                // Milliseconds: a clock tells no more.
                let time = (now.unix_timestamp_nanos() / 1_000_000) as f64 / 1e3;
                let level = of.level().as_str().to_ascii_lowercase();
                if let Ok(line) = to_json_line(&Line { time, level: &level, event, fields }) {
                    say(line);
                }
            }
            // What a peer has said cannot begin another line.
            Format::Text => say(Printable(text(now, of, event, fields))),
        }
    }
}

fn text(now: OffsetDateTime, of: &Metadata<'_>, event: &str, fields: &Fields) -> String {
    let (date, (hour, minute, second, milli)) = (now.date(), now.to_hms_milli());
    let level = of.level();
    let mut line =
        format!("{date}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z {level:>5} {event}");
    for (name, value) in fields.all.iter().filter(|(_, value)| !value.is_null()) {
        let _ = match value.as_str() {
            Some(word) if !word.is_empty() && !word.contains([' ', '"', '=']) => {
                write!(line, " {name}={word}")
            }
            _ => write!(line, " {name}={value}"),
        };
    }
    line
}

impl Fields {
    /// All that there may be, without values.
    fn of(metadata: &Metadata<'_>) -> Self {
        let names = metadata.fields().iter().map(|field| field.name());
        let all = names.filter(|name| is_free(name)).map(|name| (name, Value::Null)).collect();
        Self { all, message: String::new() }
    }

    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        if let Some((_, own)) = self.all.iter_mut().find(|(name, _)| *name == field.name()) {
            *own = value.into();
        }
    }

    /// What a span around it says that it does not say itself.
    fn inherit(&mut self, outer: &Self) {
        for (name, value) in &outer.all {
            if self.all.iter().all(|(own, _)| own != name) {
                self.all.push((name, value.clone()));
            }
        }
    }
}

/// Whether a name is none of those that every line has.
fn is_free(name: &str) -> bool {
    !["time", "level", "event", "target", "message"].contains(&name)
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.set(field, text);
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.all.len()))?;
        for (name, value) in &self.all {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
