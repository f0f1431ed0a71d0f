//! What can be checked on real data, where `LRA_DATA` names a folder of it.

use lra::data::Places;
use lra::progress::Progress;
use lra::tasks;

/// A folder with other tasks' files only: ListOps is generated, and the record's source
/// says so.
#[test]
fn listops_is_generated_where_the_folder_has_none() {
    let Some(official) = std::env::var_os("LRA_DATA") else {
        println!("skipped: LRA_DATA is not set");
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let places = Places { official: Some(official.into()), cache: cache.path().into() };
    let options = "train = 20\nvalidation = 5\ntest = 5".parse().unwrap();
    let task = tasks::find("listops").unwrap();
    let data = task.load(&options, &places, &Progress::silent()).unwrap();
    assert_eq!((data.train.len(), data.source.as_str()), (20, "generated"));
}
