//! Tables of the documentation that come from the code: a test fails when they have drifted apart.

use std::path::Path;

/// Checks that `docs/<file>` holds `text` between the comments `<!-- name -->` and `<!-- /name -->`.
/// With `UPDATE_DOCS=1` it is written there instead.
pub(crate) fn check(file: &str, name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    let page = std::fs::read_to_string(&path).expect(file);
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = page.split_once(&start).expect(&start);
    let (found, after) = rest.split_once(&end).expect(&end);
    if found == text {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{start}{text}{end}{after}")).expect(file);
        return;
    }
    panic!("docs/{file} does not show {name} as the code has it; run the tests once with UPDATE_DOCS=1");
}
