//! Who is asked for names: nsswitch.conf(5), read as glibc does.

#![forbid(unsafe_code)]

/// What stands behind the last line for a database, if there is one.
pub fn line<'t>(text: &'t str, database: &str) -> Option<&'t str> {
    let mut lines = text.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let (name, services) = line.split_once(':')?;
        (name.trim() == database).then_some(services)
    });
    lines.next_back()
}

/// The words of the last line for a database, an action in brackets as one word.
pub fn services(text: &str, database: &str) -> Vec<String> {
    let services = line(text, database).unwrap_or("files");
    // `[NOTFOUND = return]` is one word.
    let mut words: Vec<String> = Vec::new();
    let mut inside = false;
    for c in services.chars() {
        match c {
            c if c.is_ascii_whitespace() && !inside => words.push(String::new()),
            c if c.is_ascii_whitespace() => {}
            c => {
                if c == '[' {
                    words.push(String::new());
                }
                inside = c == '[' || (inside && c != ']');
                match words.last_mut() {
                    Some(word) => word.push(c),
                    None => words.push(c.into()),
                }
                if c == ']' {
                    words.push(String::new());
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
