//! Writes the JavaScript through which a page calls the client, and the module that goes with it.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let [module, folder, name] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else {
        eprintln!("usage: pq-web-glue MODULE.wasm FOLDER NAME");
        return ExitCode::from(2);
    };
    let written = Bindgen::new()
        .input_path(module)
        .out_name(name)
        // The module lies beside the script, which finds it there.
        .omit_default_module_path(false)
        .web(true)
        .and_then(|glue| glue.typescript(false).generate(folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{module}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
