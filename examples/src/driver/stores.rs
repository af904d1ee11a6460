//! What both nodes' stores hold at the end.

use super::ledger::Copies;
use super::message::Recipe;
use crate::smtp::without_trace;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Where a delivery begins. A killed one leaves what it wrote there.
const UNFINISHED: &str = "tmp";

/// Every file of a tree by its path below `root`.
pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

/// Reads a whole tree but for a Maildir's `tmp`, where no reader looks; an absent one is empty.
pub(crate) fn read(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    match fs::metadata(root) {
        Ok(_) => read_into(root, "", &mut tree).map(|()| tree),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(tree),
        Err(e) => Err(e),
    }
}

fn read_into(dir: &Path, prefix: &str, tree: &mut Tree) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            if name == UNFINISHED {
                continue;
            }
            read_into(&entry.path(), &format!("{name}/"), tree)?;
        } else {
            tree.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// Which of the driver's messages a tree holds, and how often.
pub(crate) fn copies(tree: &Tree, recipe: &Recipe) -> Copies {
    let mut copies = Copies::default();
    for stored in tree.values() {
        let message = without_trace(stored);
        let Some(number) = recipe.number_of(message) else { continue };
        if message == recipe.message(number) {
            *copies.whole.entry(number).or_default() += 1;
        } else {
            copies.damaged.insert(number);
        }
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_and_compared() {
        let recipe = Recipe { seed: 3, bytes: 1000 };
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("mail/new")).unwrap();
        let write =
            |name: &str, bytes: &[u8]| fs::write(dir.path().join("mail/new").join(name), bytes).unwrap();
        write("a", &recipe.message(1));
        write("b", &recipe.message(1));
        let mut torn = recipe.message(2);
        torn.pop();
        write("c", &torn);
        write("d", b"From: somebody else\r\n\r\nhello\r\n");
        fs::create_dir_all(dir.path().join("tmp")).unwrap();
        fs::write(dir.path().join("tmp/e"), recipe.message(3)).unwrap();
        let tree = read(dir.path()).unwrap();
        assert_eq!(tree.len(), 4);
        let copies = copies(&tree, &recipe);
        assert_eq!(copies.whole.into_iter().collect::<Vec<_>>(), [(1, 2)]);
        assert_eq!(copies.damaged.into_iter().collect::<Vec<_>>(), [2]);
        assert!(read(&dir.path().join("absent")).unwrap().is_empty());
    }
}
