//! `pair-node ctl`: asks a running node.

use super::Failure;
use super::control::{Answer, Question, SWITCHOVER};
use super::options::{CtlOptions, CtlQuestion};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

/// How long a node may take for an answer, beside what a switchover takes.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn main(options: &CtlOptions) -> Result<ExitCode, Failure> {
    let question = match options.question {
        CtlQuestion::Status { .. } => Question::Status,
        CtlQuestion::Switchover => Question::Switchover,
        CtlQuestion::Explain { .. } => Question::Explain,
    };
    let line = ask(options, question).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "; no node runs with this --control"
            }
            io::ErrorKind::PermissionDenied => "; only the node's own user may ask it",
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "; the node gives no answer",
            _ => "",
        };
        Failure::failed(format!("{}: {error}{hint}", options.control.display()))
    })?;
    let answer = serde_json::from_str(&line)
        .map_err(|error| Failure::failed(format!("the node's answer is not understood: {error}")))?;
    show(&answer, options.question)
}

fn ask(options: &CtlOptions, question: Question) -> io::Result<String> {
    let mut stream = UnixStream::connect(&options.control)?;
    stream.set_read_timeout(Some(
        PATIENCE + if question == Question::Switchover { SWITCHOVER } else { Duration::ZERO },
    ))?;
    let mut line = serde_json::to_string(&question)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    match BufReader::new(stream).read_line(&mut answer)? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the node ended before it answered")),
        _ => Ok(answer),
    }
}

fn show(answer: &Answer, question: CtlQuestion) -> Result<ExitCode, Failure> {
    let json = matches!(question, CtlQuestion::Status { json: true } | CtlQuestion::Explain { json: true });
    let text = match answer {
        Answer::Failed(why) => return Err(Failure::failed(why)),
        Answer::Done(what) => format!("{what}\n"),
        Answer::Status(status) if json => pretty(status)?,
        Answer::Explain(list) if json => pretty(list)?,
        Answer::Status(status) => status.to_string(),
        Answer::Explain(list) => list.iter().map(ToString::to_string).collect(),
    };
    // A reader that has seen enough is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn pretty(value: &impl serde::Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(value).map_err(Failure::failed)? + "\n")
}
