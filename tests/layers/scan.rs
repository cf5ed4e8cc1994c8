//! Reads Rust source as far as the rules need it: words, paths, imports and inline modules.
//!
//! Always true here:
//! - Comments, strings and characters give no words, so that a sentence about `unsafe` or about another layer is no use of it.
//! - What is found is never less than what the compiler sees in the forms that rustfmt writes.

/// A piece of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A keyword, a name, or a number.
    Word(String),
    /// `::`
    Colons,
    /// Any other character that is no space.
    Mark(char),
}

/// A piece and its line, from 1.
pub(crate) type Placed = (usize, Token);

/// A path that begins at `crate`, `super` or `self`, resolved to the root of the crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    /// Where it stands.
    pub(crate) line: usize,
    /// Its segments; the first one is a module of the root.
    pub(crate) path: Vec<String>,
}

/// Splits source into tokens.
pub(crate) fn tokens(text: &str) -> Vec<Placed> {
    let bytes: Vec<char> = text.chars().collect();
    let at = |index: usize| bytes.get(index).copied().unwrap_or('\0');
    let (mut tokens, mut index, mut line) = (Vec::new(), 0, 1);
    while index < bytes.len() {
        let start = index;
        match at(index) {
            '/' if at(index + 1) == '/' => {
                while index < bytes.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            '/' if at(index + 1) == '*' => index = behind_comment(&bytes, index),
            '"' => index = behind_string(&bytes, index),
            '\'' => index = behind_quote(&bytes, index),
            first if first.is_alphanumeric() || first == '_' => {
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
                let word: String = bytes[start..index].iter().collect();
                match (word.as_str(), at(index)) {
                    ("r" | "br" | "cr", '"' | '#') if is_raw_string(&bytes, index) => {
                        index = behind_raw_string(&bytes, index);
                    }
                    // A raw name, `r#type`, is the word behind the mark.
                    ("r", '#') => index += 1,
                    _ => tokens.push((line, Token::Word(word))),
                }
            }
            ':' if at(index + 1) == ':' => {
                tokens.push((line, Token::Colons));
                index += 2;
            }
            mark => {
                if !mark.is_whitespace() {
                    tokens.push((line, Token::Mark(mark)));
                }
                index += 1;
            }
        }
        line += bytes[start..index.min(bytes.len())].iter().filter(|one| **one == '\n').count();
    }
    tokens
}

fn behind_comment(text: &[char], mut index: usize) -> usize {
    let mut depth = 0;
    while index < text.len() {
        match (text[index], text.get(index + 1)) {
            ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
            ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index
}

fn behind_string(text: &[char], start: usize) -> usize {
    let mut index = start + 1;
    while index < text.len() && text[index] != '"' {
        index += if text[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// A character, or a lifetime: then only the quote is passed.
fn behind_quote(text: &[char], start: usize) -> usize {
    match (text.get(start + 1), text.get(start + 2)) {
        (Some('\\'), _) => {
            let mut index = start + 3;
            while index < text.len() && text[index] != '\'' {
                index += 1;
            }
            index + 1
        }
        (Some(_), Some('\'')) => start + 3,
        _ => start + 1,
    }
}

fn is_raw_string(text: &[char], index: usize) -> bool {
    text[index..].iter().find(|one| **one != '#') == Some(&'"')
}

fn behind_raw_string(text: &[char], index: usize) -> usize {
    let hashes = text[index..].iter().take_while(|one| **one == '#').count();
    let mut index = index + hashes + 1;
    while index < text.len() {
        let closes = text[index] == '"' && (1..=hashes).all(|step| text.get(index + step) == Some(&'#'));
        index += 1;
        if closes {
            return index + hashes;
        }
    }
    index
}

/// The module that a file holds, by its path below `src`.
pub(crate) fn module_of(file: &str) -> Vec<String> {
    let name = file.strip_suffix(".rs").unwrap_or(file);
    let mut module: Vec<String> = name.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

/// For each token, the inline modules that it stands in.
pub(crate) fn inline_modules(tokens: &[Placed]) -> Vec<Vec<String>> {
    let (mut open, mut depth): (Vec<(String, usize)>, usize) = (Vec::new(), 0);
    let mut found = Vec::with_capacity(tokens.len());
    for (index, (_, token)) in tokens.iter().enumerate() {
        found.push(open.iter().map(|(name, _)| name.clone()).collect());
        match token {
            Token::Mark('{') => {
                if let [.., (_, Token::Word(keyword)), (_, Token::Word(name))] = &tokens[..index]
                    && keyword == "mod"
                {
                    open.push((name.clone(), depth));
                }
                depth += 1;
            }
            Token::Mark('}') => {
                depth = depth.saturating_sub(1);
                open.retain(|(_, opened)| *opened < depth);
            }
            _ => {}
        }
    }
    found
}

/// All paths of a file that begin at `crate`, `super` or `self`.
pub(crate) fn imports(file: &str, tokens: &[Placed]) -> Vec<Import> {
    let inline = inline_modules(tokens);
    let mut imports = Vec::new();
    for (index, (line, token)) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let begins = ["crate", "super", "self"].contains(&word.as_str())
            && matches!(tokens.get(index + 1), Some((_, Token::Colons)))
            && (index == 0 || tokens[index - 1].1 != Token::Colons);
        if !begins {
            continue;
        }
        let mut base = if word == "crate" { Vec::new() } else { module_of(file) };
        if word != "crate" {
            base.extend(inline[index].iter().cloned());
        }
        if word == "super" {
            base.pop();
        }
        let mut paths = Vec::new();
        tree(tokens, index + 2, base, &mut paths);
        imports.extend(paths.into_iter().map(|path| Import { line: *line, path }));
    }
    imports
}

/// Follows a path, and a group at its end, from the token behind a `::`. Gives the token behind it.
fn tree(tokens: &[Placed], mut index: usize, mut path: Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    loop {
        match tokens.get(index).map(|(_, token)| token) {
            Some(Token::Word(word)) => {
                match word.as_str() {
                    "super" => drop(path.pop()),
                    "self" => {}
                    _ => path.push(word.clone()),
                }
                index += 1;
                if tokens.get(index).map(|(_, token)| token) != Some(&Token::Colons) {
                    break;
                }
                index += 1;
            }
            Some(Token::Mark('{')) => {
                index += 1;
                while let Some((_, token)) = tokens.get(index) {
                    match token {
                        Token::Mark('}') => return index + 1,
                        Token::Mark(',') => index += 1,
                        _ => {
                            index = tree(tokens, index, path.clone(), paths);
                            // What is left of an element is `as NAME`.
                            while !matches!(tokens.get(index), None | Some((_, Token::Mark(',' | '}')))) {
                                index += 1;
                            }
                        }
                    }
                }
                return index;
            }
            // `*`, or the types of a call: what was named so far counts.
            _ => break,
        }
    }
    paths.push(path);
    index
}
