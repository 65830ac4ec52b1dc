//! Which key of a file holds a whole number that is too large to be read.
//!
//! The reader of TOML says that there is one and not where. This looks for it line by line, which is all
//! that finding a key takes; whatever it does not understand it passes over.

/// The dotted key of the first whole number beyond 64 bits with a sign.
pub(super) fn too_large(text: &str) -> Option<String> {
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            name.0.trim_matches(['[', ' ']).clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=')
            && without_texts(value).any(is_too_large)
        {
            let key = key.trim();
            return Some(if section.is_empty() {
                key.to_owned()
            } else {
                format!("{section}.{key}")
            });
        }
    }
    None
}

/// The words of a value outside of quotes, up to a comment.
fn without_texts(value: &str) -> impl Iterator<Item = &str> {
    let unquoted = value.split(['"', '\'']).step_by(2);
    let said = unquoted.map(|part| part.split('#').next().unwrap_or_default());
    said.flat_map(|part| part.split(['[', ']', '{', '}', ',', '=', ' ', '\t']))
}

fn is_too_large(word: &str) -> bool {
    let digits = word.replace('_', "");
    let unsigned = digits.trim_start_matches(['+', '-']);
    let is_whole = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    is_whole && digits.parse::<i64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::too_large;

    #[test]
    fn the_key_of_a_number_that_is_too_large_is_found() {
        let large = "9223372036854775808";
        for (text, key) in [
            (format!("count = {large}"), "count"),
            (format!("[http]\nworkers = 4\n[sample]\n  count={large} # all\n"), "sample.count"),
            (format!("[sample]\ncount = -9_{}\n", &large[1..].repeat(2)), "sample.count"),
            (format!("[[auth.callers]]\nname = '{large}'\nn = [1, {large}]"), "auth.callers.n"),
            (format!("queues = {{ 'a' = {large} }}"), "queues"),
        ] {
            assert_eq!(too_large(&text).as_deref(), Some(key), "{text}");
        }
        for text in [
            "count = 9223372036854775807".to_owned(),
            format!("name = '{large}' # {large}"),
            format!("# count = {large}").replace('=', ""),
            "share = 9223372036854775808.5".to_owned(),
        ] {
            assert_eq!(too_large(&text), None, "{text}");
        }
    }
}
