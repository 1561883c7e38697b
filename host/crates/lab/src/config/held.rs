//! For callers who are handed over to Jackfield: numbers that do so, queues to go to, and recordings that a test tells
//! apart by their tones.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{phone::audio, release::Tree};

/// The dialplan template, as the connector's users copy it.
pub const TEMPLATE: &str = include_str!("../../../../../plugins/asterisk/dialplan.conf");

/// Where callers go whose lease ran out, for `[globals]`.
pub(super) const GLOBALS: &str = "JACKFIELD_FALLBACK_QUEUE=fallback\n";

/// Numbers of `[internal]`.
pub(super) const NUMBERS: &str = "\
exten => 720,1,Gosub(jackfield,ask,1(main))
 same => n,Goto(801,1)
exten => 721,1,Answer()
 same => n,Gosub(jackfield,ask,1(reception,TARIFF=gold))
 same => n,Echo()
 same => n,Hangup()
exten => 112,1,Gosub(jackfield,ask,1(emergency))
 same => n,Goto(1009,1)
";

/// Queues of the template `(q)`.
pub(super) const QUEUES: &str = "\
[vip](q)
member => PJSIP/1003,0,Agent Three,PJSIP/1003
[standard](q)
member => PJSIP/1004,0,Agent Four,PJSIP/1004
[fallback](q)
member => PJSIP/1008,0,Agent Eight,PJSIP/1008
";

/// Recordings below `sounds`, each one steady tone: `lab/tone-600` is 600 Hz for 2 s, `lab/long-700` 700 Hz for 10 s.
pub const TONES: [(&str, u32, Duration); 3] = [
    ("lab/tone-600", 600, Duration::from_secs(2)),
    ("lab/tone-800", 800, Duration::from_secs(2)),
    ("lab/long-700", 700, Duration::from_secs(10)),
];

/// The music of the class `tone`, in hertz.
pub const MUSIC_TONE: u32 = 400;

/// The class in musiconhold.conf.
pub(super) fn music_class(folder: &str) -> String {
    format!("[tone]\nmode = files\ndirectory = {folder}/data/tone\n")
}

/// A data folder of the instance's own: all of the tree's, and the tones.
pub(crate) fn write_data(tree: &Tree, folder: &Path) -> io::Result<()> {
    let data = folder.join("data");
    let sounds = data.join("sounds");
    fs::create_dir_all(sounds.join("lab"))?;
    fs::create_dir_all(data.join("tone"))?;
    link_all(tree.shared(), &data)?;
    link_all(&tree.shared().join("sounds"), &sounds)?;
    for (name, hertz, length) in TONES {
        fs::write(sounds.join(format!("{name}.wav")), audio::wav(hertz, length))?;
    }
    let music = audio::wav(MUSIC_TONE, Duration::from_secs(30));
    fs::write(data.join("tone/tone.wav"), music)
}

/// Links everything of a folder that is not in the other one yet.
fn link_all(from: &Path, to: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let at: PathBuf = to.join(entry.file_name());
        if at.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(entry.path(), at)?;
        }
    }
    Ok(())
}
