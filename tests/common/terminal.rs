//! A program on a terminal of its own (made by util-linux' `script`), and what it has shown there.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a program may take until it shows what is waited for.
const SHOW_WAIT_MAX: Duration = Duration::from_secs(20);
/// Wide enough that no line of a test is broken.
const SIZE: &str = "stty cols 200 rows 50";

/// A running program.
pub struct Terminal {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Arc<Mutex<Vec<u8>>>,
    /// Bytes of the screen that were waited for already.
    seen: usize,
}

/// True if all these programs are on the path.
pub fn are_there(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &&str| std::env::split_paths(&path).any(|at| at.join(program).is_file());
    let missing: Vec<&&str> = programs.iter().filter(|program| !has(program)).collect();
    if !missing.is_empty() {
        eprintln!("skipped: not installed: {missing:?} (Debian: redis-tools, bsdutils)");
    }
    missing.is_empty()
}

impl Terminal {
    /// Starts a command line of the shell in `home`.
    pub fn start(command: &str, home: &Path) -> Terminal {
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &format!("{SIZE}; exec {command}")])
            .arg("/dev/null")
            .current_dir(home)
            .env("HOME", home)
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("script is there");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let mut output = child.stdout.take().expect("it is piped");
        let writer = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut chunk) {
                writer.lock().expect("nobody panics with it").extend_from_slice(&chunk[..count]);
            }
        });
        let keyboard = child.stdin.take();
        Terminal { child, keyboard, screen, seen: 0 }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().expect("it is open until the end");
        keyboard.write_all(keys.as_bytes()).and_then(|()| keyboard.flush()).expect("it runs");
    }

    /// Waits until the program shows `text` behind what was waited for before; gives everything up
    /// to there.
    pub fn expect(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let screen = self.shown();
            if let Some(at) = screen[self.seen..].find(text) {
                let end = self.seen + at + text.len();
                let passed = screen[self.seen..end].to_owned();
                self.seen = end;
                return passed;
            }
            let last = &screen[screen.len().saturating_sub(1000)..];
            assert!(began.elapsed() < SHOW_WAIT_MAX, "{text:?} does not come: ...{last:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything that the program has shown.
    pub fn shown(&self) -> String {
        let screen = self.screen.lock().expect("nobody panics with it");
        // A character that has arrived in part would move everything behind it.
        let whole = screen.iter().all(u8::is_ascii);
        assert!(whole, "only ASCII is expected: {:?}", String::from_utf8_lossy(&screen));
        String::from_utf8_lossy(&screen).into_owned()
    }

    /// Waits until the program has ended by itself. Its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < SHOW_WAIT_MAX {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end: {:?}", self.shown());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Without its terminal the program on it gets a hang-up.
        self.keyboard = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
