//! A download that is cut once, with FIN, in the middle of its largest layer: what each client does then.
//!
//! What is seen has to be what `docs/clients.md` says; `UPDATE_DOCS=1` writes it there.

use dataproxy_tests::access::Access;
use dataproxy_tests::cut::Cut;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::installed::Installed;
use dataproxy_tests::node::Stamp;
use dataproxy_tests::seen::Moment;

use crate::every_client::{every_client, surroundings, table};

/// Reached on one connection only inside the layer of 8 MiB.
const CUT_AT: u64 = 5 << 20;

every_client!(a_cut_has_the_stated_end);

async fn a_cut_has_the_stated_end(client: Installed) {
    let dir = tempfile::tempdir().expect("a folder");
    let stamp = Stamp::start().await;
    let image = Image::small().await;
    stamp.container("contoso").put_image(&image, "app", TAG);
    let running = client.start(&surroundings(dir.path(), "")).await;
    let cut = Cut::start(stamp.front.pull(), CUT_AT).await;
    let name = format!("{}/contoso/app:{TAG}", cut.address());

    let before = Moment::now(&stamp.front).await;
    let pulled = running.pull(&name, &Access::Plain).await;
    let seen = before.until(Moment::now(&stamp.front).await, &stamp.front);
    assert!(cut.happened(), "nothing was cut: {seen:?}");
    let (layer, size) = image.largest_blob();
    let gets = seen.gets_of(&layer);
    let end = match (&pulled, seen.ranges().as_slice()) {
        // What fails may not be there afterwards; what succeeds is whole.
        (Err(failed), _) => {
            println!("{}: {failed}", client.name());
            "the pull fails"
        }
        (Ok(ran), [range, ..]) => {
            println!("{}: {:?} in all, {range} of {size} bytes", client.name(), ran.took);
            running.check(&name, &image).await;
            "goes on at the byte"
        }
        (Ok(ran), []) => {
            println!("{}: {:?} in all", client.name(), ran.took);
            running.check(&name, &image).await;
            "fetches the layer again"
        }
    };
    // A pull that failed is no lasting harm: the next one is whole.
    if pulled.is_err() {
        running.pull(&name, &Access::Plain).await.unwrap_or_else(|failed| panic!("the next pull: {failed}"));
        running.check(&name, &image).await;
    }
    table("cut").settle(&[client.name(), end.to_owned(), gets.to_string()]);
}
