//! `pq demo --web`: the same network, served to a page in which the client runs.

use std::fs;
use std::path::{Path, PathBuf};

use pq::{Identity, Service, ServiceOptions, Token, WebFile, WebOptions};
use serde::Serialize;

use crate::context::App;
use crate::exit::{Failure, Outcome};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const MODULE: &str = "application/wasm";

/// The page, which is the program's own.
const PAGE: [(&str, &str, &[u8]); 4] = [
    ("/", HTML, include_bytes!("../../bindings/web/page/index.html")),
    ("/page.css", CSS, include_bytes!("../../bindings/web/page/page.css")),
    ("/page.js", SCRIPT, include_bytes!("../../bindings/web/page/page.js")),
    ("/worker.js", SCRIPT, include_bytes!("../../bindings/web/page/worker.js")),
];
/// The client, which is built apart.
const CLIENT: [(&str, &str); 2] = [("pq_web.js", SCRIPT), ("pq_web_bg.wasm", MODULE)];
/// Where it is looked for, from the program's folder.
const BESIDE: [&str; 2] = ["pq-web", "../pq-web"];
/// Where it is asked for by name: the page's own script has the same.
const MODEL: &str = "digits";

/// Where the page is.
#[derive(Serialize)]
struct Page {
    url: String,
}

/// The files of the page and of the client.
pub(super) fn files(client: Option<&Path>) -> Outcome<Vec<WebFile>> {
    let folder = match client {
        Some(folder) => folder.to_owned(),
        None => beside().ok_or_else(|| {
            Failure::input(
                "the client for browsers is not built; run bindings/web/build.sh, which says what \
                 it needs, or name its folder with --web-client",
            )
        })?,
    };
    let own =
        PAGE.map(|(path, kind, bytes)| WebFile { path: path.into(), kind, bytes: bytes.into() });
    // Read now: a build that comes later is not served half.
    let built = CLIENT.iter().map(|(name, kind)| {
        let path = folder.join(name);
        let bytes = fs::read(&path).map_err(|error| {
            Failure::input(format_args!("{error}; bindings/web/build.sh writes it")).of_file(&path)
        })?;
        Ok(WebFile { path: format!("/{name}"), kind, bytes: bytes.into() })
    });
    own.into_iter().map(Ok).chain(built).collect()
}

/// The client's folder, where it is found by itself.
fn beside() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let here = program.parent()?;
    BESIDE.map(|place| here.join(place)).into_iter().find(|folder| folder.is_dir())
}

/// Serves the network of a folder until the process is interrupted.
pub(super) fn serve(
    app: &App,
    folder: &Path,
    files: Vec<WebFile>,
    listen: Option<&str>,
) -> Outcome<()> {
    let (key, clients) = (folder.join("server.pem"), folder.join("clients"));
    Identity::generate()?.save(&key)?;
    let token = Token::generate()?;
    fs::write(&clients, format!("page {}\n", token.digest()))
        .map_err(|error| super::unwritable(&error))?;
    let listen = listen.unwrap_or("127.0.0.1:0").into();
    let web = WebOptions { listen, files, ..WebOptions::default() };
    let models = vec![(MODEL.into(), folder.join("net"))];
    let options = ServiceOptions::new(Some(key), clients, models);
    let options = ServiceOptions { web: Some(web), ..options };
    // The folder, and with it the key and the weights, goes when this is interrupted.
    let runtime = pq::runtime()?;
    runtime.block_on(async {
        let service = Service::bind(options, Box::new(|_| ())).await?;
        let address = service
            .web_address()
            .ok_or_else(|| Failure::internal("invariant: a page that is served has an address"))?;
        // Behind the #, the token is in nobody's log: browsers do not send it.
        let page = Page { url: format!("http://{address}/#{}", token.expose()) };
        app.console.note("2. the server has the weights; the client is the page");
        app.console.result(&page, Page::text)?;
        service.run().await;
        Ok(())
    })
}

impl Page {
    fn text(&self) -> String {
        format!("open {}\nand draw a digit; Ctrl-C ends it\n", self.url)
    }
}
