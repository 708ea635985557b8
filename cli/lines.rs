//! Results in a file: a line of JSON for each image, and behind them one that says that all are
//! there.

use std::ops::Range;
use std::path::Path;

use pq::read_secret;
use serde::{Deserialize, Serialize};

use crate::console::to_json_line;
use crate::exit::{Failure, Outcome};

/// What is known of one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageLine {
    /// Its place in its file.
    pub(crate) index: usize,
    pub(crate) prediction: usize,
    /// As integers; null where the label alone is revealed.
    pub(crate) logits: Option<Vec<i64>>,
    /// Null where it is not known.
    pub(crate) label: Option<usize>,
}

/// What a file has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    /// All images that were asked for, in all shards: from, and to, which is not one of them.
    pub(crate) of: [usize; 2],
    /// Those of this file.
    pub(crate) images: [usize; 2],
    /// The hash of the plan.
    pub(crate) plan: String,
    /// Bytes of the ledger, set-up included.
    pub(crate) server_bytes: u64,
    /// See `server_bytes`.
    pub(crate) client_bytes: u64,
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Complete {
    complete: Content,
}

/// The images of a file and what it has.
pub(crate) struct Lines {
    pub(crate) images: Vec<ImageLine>,
    pub(crate) content: Content,
}

impl Lines {
    /// The file's text.
    pub(crate) fn text(self) -> Outcome<String> {
        // The images first: the last line says that they are all there.
        let mut text = String::new();
        for image in &self.images {
            text += &to_json_line(image)?;
            text.push('\n');
        }
        text += &to_json_line(&Complete { complete: self.content })?;
        text.push('\n');
        Ok(text)
    }

    /// Reads a file that is whole.
    ///
    /// # Errors
    /// It cannot be read, a line is something else, or images are missing: the file and the line.
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        let text = String::from_utf8_lossy(&read_secret(path)?).into_owned();
        Self::parse(&text).map_err(|failure| failure.of_file(path))
    }

    fn parse(text: &str) -> Outcome<Self> {
        let lines: Vec<&str> = text.lines().collect();
        let Some((last, images)) = lines.split_last() else {
            return Err(Failure::input("expected results of pq infer --out, found nothing"));
        };
        // It was written last: a file that was cut has another one, or none.
        let content = line::<Complete>(lines.len(), last)?.complete;
        let images: Vec<ImageLine> =
            images.iter().zip(1..).map(|(text, at)| line(at, text)).collect::<Outcome<_>>()?;
        let [from, to] = content.images;
        // In their order, each once: what is not so was not written by one run.
        if !images.iter().map(|image| image.index).eq(from..to) {
            let found = images.len();
            return Err(Failure::input(format_args!(
                "expected a line for each image of {from}..{to} in their order, found {found} \
                 others; remove the file, and run its shard again"
            )));
        }
        Ok(Self { images, content })
    }
}

impl Content {
    /// Whether it is what a run with this plan on a part of these images would write.
    pub(crate) fn is_of(&self, plan: &str, all: &Range<usize>, part: &Range<usize>) -> bool {
        self.plan == plan
            && self.of == [all.start, all.end]
            && self.images == [part.start, part.end]
    }
}

fn line<T: for<'a> Deserialize<'a>>(number: usize, text: &str) -> Outcome<T> {
    serde_json::from_str(text).map_err(|error| {
        Failure::input(format_args!(
            "line {number}: expected a line of pq infer --out, whose last line says that it is \
             complete, found {text:?} ({error})"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        let image = |index| ImageLine { index, prediction: 3, logits: Some(vec![-1]), label: None };
        let content = Content {
            of: [0, 9],
            images: [2, 4],
            plan: "ab".into(),
            server_bytes: 1,
            client_bytes: 2,
        };
        Lines { images: vec![image(2), image(3)], content }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_refused() {
        let text = lines().text().unwrap();
        let read = Lines::parse(&text).unwrap();
        assert_eq!((read.images, &read.content), (lines().images, &lines().content));
        assert!(read.content.is_of("ab", &(0..9), &(2..4)));
        assert!(!read.content.is_of("ac", &(0..9), &(2..4)));
        for end in 0..text.len() - 1 {
            assert!(Lines::parse(&text[..end]).is_err(), "{end}");
        }
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(Lines::parse(rest).is_err(), "an image is missing");
        assert!(Lines::parse(&format!("{first}\n{text}")).is_err(), "an image is there twice");
    }
}
