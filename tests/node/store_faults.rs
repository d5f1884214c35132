//! A store whose disk is full, whose files are damaged, whose directory belongs to others: said, counted, and mended
//! without losing what was acknowledged.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::kit::*;
use super::restart::{keeping, kill, known, monitored, stored, value};

/// A small disk of its own; gone with the value.
struct Disk {
    place: tempfile::TempDir,
}

impl Disk {
    /// `None`, loudly, where this machine does not let the test make one.
    fn of(megabytes: u32) -> Option<Disk> {
        let place = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Disk { place });
        }
        eprintln!("SKIPPED: no rights to mount a small disk; nothing was tested");
        None
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    /// Takes all room that is left.
    fn fill(&self) -> PathBuf {
        use std::io::Write as _;
        let path = self.path().join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        let block = [1; 4096];
        while file.write_all(&block).is_ok() {}
        path
    }

    fn make_read_only(&self) {
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn readiness(node: &Node) -> String {
    let answer = monitored(node, "/readyz");
    answer.lines().next().unwrap_or_default().to_owned()
}

fn journal(place: &Path) -> PathBuf {
    let files = std::fs::read_dir(place.join("store")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "jnl")).max().unwrap()
}

#[test]
fn a_full_disk_is_told_and_when_there_is_room_again_nothing_is_lost() {
    let Some(disk) = Disk::of(24) else { return };
    let other = Node::start(&format!("[node]\ncluster_id = \"c\"\n{}", function("t.before", "")));
    let node = Node::start(&keeping(disk.path(), 0, &[&other], ""));
    run(async |_| stored(&node, "t.before").await);
    let filler = disk.fill();
    let late = Node::start(&format!(
        "[node]\ncluster_id = \"c\"\n[peers]\nstatic = [\"{}\"]\n{}",
        node.url(),
        function("t.late", "")
    ));
    run(async |_| {
        eventually("it is not ready", async || readiness(&node).contains(" 503 ")).await;
        assert!(value(&node, "mpreg_store_failures_total") > 0);
        // The node itself goes on.
        eventually("it serves", async || known(&node).await.contains("t.late")).await;
    });
    assert!(node.logged_text("the store cannot be written").contains("make room on the disk"));
    std::fs::remove_file(filler).unwrap();
    run(async |_| {
        eventually("it is ready again", async || readiness(&node).contains(" 200 ")).await;
        stored(&node, "t.late").await;
    });
    node.logged_text("the store works again");
    assert_eq!(value(&node, "mpreg_store_set_aside_total"), 0);
    kill(node);
    kill(late);
    kill(other);
    let again = Node::start(&keeping(disk.path(), 0, &[], ""));
    run(async |_| {
        let known = known(&again).await;
        assert!(known.contains("t.before") && known.contains("t.late"), "{known}");
    });
    again.stop();
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_at_start_with_its_remedy() {
    let Some(disk) = Disk::of(8) else { return };
    disk.make_read_only();
    let refusal = refused(&tempfile::tempdir().unwrap().keep(), &keeping(disk.path(), 0, &[], ""));
    let told = String::from_utf8_lossy(&refusal.stderr).into_owned();
    assert!(told.contains("persistence.dir") && told.contains("mount it writable"), "{told}");
    assert_eq!(refusal.status.code(), Some(REFUSED), "{told}");
}

#[test]
fn a_directory_of_another_user_is_refused_at_start_with_its_remedy() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can run a node as another user; nothing was tested");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = place.path().join("store-of-root");
    std::fs::create_dir(&store).unwrap();
    let file = place.path().join("node.toml");
    std::fs::write(&file, keeping(&store, 0, &[], "")).unwrap();
    const NOBODY: u32 = 65534;
    // The usual state folder of this machine may be there, and closed to others.
    let persist = "discovery.policy.persist=false";
    let refusal = program(&["server", "start-config", &file.display().to_string(), "--set", persist])
        .current_dir(place.path())
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refusal.stderr).into_owned();
    assert!(told.contains("persistence.dir") && told.contains("let the user of the node own"), "{told}");
    assert_eq!(refusal.status.code(), Some(REFUSED), "{told}");
}

#[test]
fn a_full_disk_at_start_is_refused_with_its_remedy() {
    let Some(disk) = Disk::of(8) else { return };
    disk.fill();
    let refusal = refused(&tempfile::tempdir().unwrap().keep(), &keeping(disk.path(), 0, &[], ""));
    let told = String::from_utf8_lossy(&refusal.stderr).into_owned();
    assert!(told.contains("persistence.dir") && told.contains("make room on the disk"), "{told}");
    assert_eq!(refusal.status.code(), Some(REFUSED), "{told}");
    assert!(
        !disk.path().read_dir().unwrap().any(|e| e.unwrap().path().display().to_string().contains("damaged"))
    );
}

/// A file that may not become larger ends no process: it is said with the key that helps.
#[test]
fn a_limit_on_the_size_of_files_is_told_with_its_remedy() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let file = write_config(place.path(), &keeping(&store, 0, &[], ""));
    let node = program(&["server", "start-config", &file.display().to_string()]);
    let refusal = Command::new("prlimit")
        .arg("--fsize=2000000")
        .arg(node.get_program())
        .args(node.get_args())
        .env("MPREG__NODE__STATE_DIR", place.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refusal.stderr).into_owned();
    assert!(told.contains("persistence.dir") && told.contains("LimitFSIZE="), "{told}");
    assert_eq!(refusal.status.code(), Some(REFUSED), "{told}");
}

#[test]
fn a_lost_end_of_the_journal_is_told_and_what_went_with_it() {
    let place = tempfile::tempdir().unwrap();
    let other = Node::start(&format!("[node]\ncluster_id = \"c\"\n{}", function("t.other", "")));
    let text = keeping(place.path(), 0, &[&other], "");
    let node = Node::start(&text);
    run(async |_| stored(&node, "t.other").await);
    kill(node);
    let path = journal(place.path());
    let bytes = std::fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    std::fs::write(&path, &bytes[..used * 2 / 3]).unwrap();
    let again = Node::start(&text);
    let line = again.logged_text("was set aside as");
    assert!(
        line.contains("batches are missing") && line.contains("entries of other nodes are forgotten"),
        "{line}"
    );
    assert!(line.contains("peers: ") && line.contains("records go on"), "{line}");
    assert_eq!(value(&again, "mpreg_store_set_aside_total"), 1);
    again.stop();
    kill(other);
}

/// In memory everything works as on disk, but for the restart.
#[test]
fn a_store_in_memory_is_written_and_survives_nothing() {
    let place = tempfile::tempdir().unwrap();
    let other = Node::start(&format!("[node]\ncluster_id = \"c\"\n{}", function("t.other", "")));
    let in_memory = |peers: &[&Node]| keeping(place.path(), 0, peers, "").replace("\"fjall\"", "\"memory\"");
    let node = Node::start(&in_memory(&[&other]));
    run(async |_| stored(&node, "t.other").await);
    assert!(value(&node, "mpreg_store_disk_bytes") > 0);
    assert!(readiness(&node).contains(" 200 "));
    node.stop();
    assert!(std::fs::read_dir(place.path()).unwrap().next().is_none(), "nothing is on the disk");
    let again = Node::start(&in_memory(&[]));
    run(async |_| assert!(!known(&again).await.contains("t.other")));
    again.stop();
}

/// With an interval of zero nothing is written in between, and all at an orderly stop.
#[test]
fn without_an_interval_an_orderly_stop_writes_and_a_kill_does_not() {
    let place = tempfile::tempdir().unwrap();
    let other = Node::start(&format!("[node]\ncluster_id = \"c\"\n{}", function("t.other", "")));
    let text = |peers: &[&Node]| keeping(place.path(), 0, peers, "").replace("\"100ms\"", "\"0s\"");
    let node = Node::start(&text(&[&other]));
    run(async |_| eventually("it is known", async || known(&node).await.contains("t.other")).await);
    kill(node);
    let empty = Node::start(&text(&[]));
    run(async |_| assert!(!known(&empty).await.contains("t.other")));
    empty.stop();
    let node = Node::start(&text(&[&other]));
    run(async |_| eventually("it is known", async || known(&node).await.contains("t.other")).await);
    node.stop();
    let again = Node::start(&text(&[]));
    run(async |_| assert!(known(&again).await.contains("t.other")));
    again.stop();
}

#[test]
fn entries_of_a_cluster_that_is_kept_out_now_do_not_come_back() {
    let place = tempfile::tempdir().unwrap();
    let foreign = Node::start(&format!(
        "[node]\ncluster_id = \"d\"\n[monitoring]\nport = 0\n{OPEN}{}{}",
        function("t.shared", ""),
        function("t.secret", "")
    ));
    let own = entries(&foreign).0 - 2;
    let node = Node::start(&keeping(place.path(), 0, &[&foreign], OPEN));
    run(async |_| {
        eventually("functions and the node", async || entries(&node) >= (own + 2, 2)).await;
        let syncs = value(&node, "mpreg_store_syncs_total");
        eventually("two syncs", async || value(&node, "mpreg_store_syncs_total") >= syncs + 2).await;
    });
    kill(node);
    kill(foreign);
    let strict = Node::start(&keeping(place.path(), 0, &[], ""));
    assert_eq!(entries(&strict), (own, 1));
    strict.logged_text("reason=cluster_refused");
    kill(strict);
}

#[test]
fn a_function_of_another_cluster_that_is_denied_now_does_not_come_back() {
    let place = tempfile::tempdir().unwrap();
    let functions = format!("{}{}", function("t.shared", ""), function("t.secret", ""));
    let foreign =
        Node::start(&format!("[node]\ncluster_id = \"d\"\n[monitoring]\nport = 0\n{OPEN}{functions}"));
    let own = entries(&foreign).0 - 2;
    let node = Node::start(&keeping(place.path(), 0, &[&foreign], OPEN));
    run(async |_| {
        eventually("functions and the node", async || entries(&node) >= (own + 2, 2)).await;
        let syncs = value(&node, "mpreg_store_syncs_total");
        eventually("two syncs", async || value(&node, "mpreg_store_syncs_total") >= syncs + 2).await;
    });
    let all = entries(&node).0;
    kill(node);
    kill(foreign);
    let lists = format!("{OPEN}deny_functions = [\"t.secret\"]\n");
    let again = Node::start(&keeping(place.path(), 0, &[], &lists));
    assert_eq!(entries(&again), (all - 1, 2));
    again.logged_text("reason=function_not_shared");
    again.stop();
}

/// Functions and nodes in the catalog.
fn entries(node: &Node) -> (u64, u64) {
    let of = |kind| value(node, &format!("mpreg_catalog_entries{{type=\"{kind}\"}}"));
    (of("function"), of("node"))
}

const OPEN: &str = "[federation]\nmode = \"permissive_bridging\"\n[federation.security]\nrequire_mutual_auth = false\n\
                    require_encryption = false\n";

/// The file is good, and the node could not start.
const REFUSED: i32 = 1;
