//! The engine's layers, as its files import each other: imports go down only, and there is no import circle between files. Paths in
//! test code do not count.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The layers from the top down. A file may import its own layer and those below.
const LAYERS: [&str; 5] = ["http", "signal", "session", "sfu", "net"];
/// Directories that import no layer.
const LEAVES: [&str; 2] = ["auth", "registry"];
/// The layers that know nothing of signalling.
const WITHOUT_SIGNALLING: [&str; 2] = ["sfu", "net"];

/// A module by its path in the crate; `""` is the crate itself.
type Module = String;

/// The source files of the crate without tests: module, code without comments, literals and test items, and the modules that each
/// declares.
struct Sources {
    code: BTreeMap<Module, Vec<String>>,
    children: BTreeMap<Module, Vec<String>>,
}

impl Sources {
    fn read() -> Self {
        let mut sources = Self { code: BTreeMap::new(), children: BTreeMap::new() };
        sources.add(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "lib.rs", String::new());
        sources
    }

    /// Adds a file, and then those of the modules that it declares.
    fn add(&mut self, directory: &Path, file: &str, module: Module) {
        let text = fs::read_to_string(directory.join(file)).unwrap();
        let tokens = without_tests(&tokens(&text));
        let declared = tokens.windows(3).filter(|window| window[0] == "mod" && window[2] == ";");
        let declared: Vec<String> = declared.map(|window| window[1].clone()).collect();
        let stem = file.trim_end_matches(".rs");
        let own = if ["lib", "mod"].contains(&stem) { directory.to_owned() } else { directory.join(stem) };
        for name in &declared {
            let (in_directory, path) = (own.join(name).join("mod.rs").exists(), join(&module, name));
            if in_directory {
                self.add(&own.join(name), "mod.rs", path);
            } else {
                self.add(&own, &format!("{name}.rs"), path);
            }
        }
        self.children.insert(module.clone(), declared);
        self.code.insert(module, tokens);
    }

    /// The modules that a module names in a path.
    fn imports(&self, module: &str) -> BTreeSet<Module> {
        let tokens = &self.code[module];
        let mut imports = BTreeSet::new();
        for (index, token) in tokens.iter().enumerate() {
            let is_start = index == 0 || tokens[index - 1] != "::";
            if !is_start || tokens.get(index + 1).is_none_or(|next| next != "::") {
                continue;
            }
            let base = match token.as_str() {
                "crate" => String::new(),
                "super" => parent(module),
                "self" => module.to_owned(),
                child if self.children[module].iter().any(|known| known == child) => join(module, child),
                _ => continue,
            };
            self.follow(&base, &tokens[index + 2..], &mut imports);
        }
        imports.remove(module);
        imports
    }

    /// Resolves a path, or a tree of paths in braces. Returns the number of its tokens.
    fn follow(&self, base: &str, tokens: &[String], found: &mut BTreeSet<Module>) -> usize {
        let Some(first) = tokens.first() else { return 0 };
        if first == "{" {
            let mut index = 1;
            while tokens[index] != "}" {
                index += if tokens[index] == "," { 1 } else { self.follow(base, &tokens[index..], found).max(1) };
            }
            return index + 1;
        }
        let next = if first == "super" { parent(base) } else { join(base, first) };
        let is_module = self.code.contains_key(&next);
        let is_longer = tokens.get(1).is_some_and(|token| token == "::");
        if is_longer && is_module {
            return 2 + self.follow(&next, &tokens[2..], found);
        }
        found.insert(if is_module { next } else { base.to_owned() });
        // The segments after it belong to the item, such as a type's constant.
        let rest = tokens.iter().take_while(|token| ![",", "}", ";", "{"].contains(&token.as_str())).count();
        rest.max(1)
    }

    fn graph(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        self.code.keys().map(|module| (module.clone(), self.imports(module))).collect()
    }
}

fn join(module: &str, name: &str) -> Module {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

fn parent(module: &str) -> Module {
    module.rsplit_once("::").map_or("", |(parent, _)| parent).to_owned()
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

/// Identifiers, `::` and single characters, without comments and the contents of literals.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(length) = literal(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else {
            let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
            if !first.is_whitespace() {
                tokens.push(rest[..length].to_owned());
            }
            length
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of a string or character literal at the beginning of a text.
fn literal(text: &str) -> Option<usize> {
    let raw = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - raw.len();
    if let Some(after) = raw.strip_prefix('r') {
        let hashes = after.len() - after.trim_start_matches('#').len();
        let contents = after[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(prefix + 1 + hashes + 1 + contents.find(&end)? + end.len());
    }
    let quote = raw.chars().next().filter(|char| ['"', '\''].contains(char))?;
    let mut chars = raw.char_indices().skip(1);
    let is_lifetime = quote == '\'' && !raw[1..].starts_with('\\') && raw.chars().nth(2) != Some('\'');
    if is_lifetime {
        return None;
    }
    while let Some((index, char)) = chars.next() {
        if char == '\\' {
            chars.next();
        } else if char == quote {
            return Some(prefix + index + 1);
        }
    }
    None
}

/// The tokens without the items, fields and statements under `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        if tokens[index..].iter().take(TEST.len()).eq(TEST.iter()) {
            index += TEST.len() + item(&tokens[index + TEST.len()..]);
        } else {
            kept.push(tokens[index].clone());
            index += 1;
        }
    }
    kept
}

/// The number of tokens up to the end of the first item.
fn item(tokens: &[String]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            "}" if depth <= 1 => return index + usize::from(depth == 1),
            ")" | "]" | "}" => depth -= 1,
            ";" | "," if depth == 0 => return index + 1,
            _ => (),
        }
    }
    tokens.len()
}

/// The modules that can be reached from each, with the import by which each was reached first.
fn reachable(graph: &BTreeMap<Module, BTreeSet<Module>>, start: &str) -> BTreeMap<Module, Module> {
    let (mut reached, mut waiting) = (BTreeMap::new(), vec![start.to_owned()]);
    while let Some(module) = waiting.pop() {
        for import in &graph[&module] {
            if !reached.contains_key(import) {
                reached.insert(import.clone(), module.clone());
                waiting.push(import.clone());
            }
        }
    }
    reached
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == top(module))
}

#[test]
fn imports_go_down_only() {
    let graph = Sources::read().graph();
    let mut upward = Vec::new();
    for module in graph.keys().filter(|module| rank(module).is_some() || LEAVES.contains(&top(module))) {
        for (import, by) in reachable(&graph, module) {
            let Some(imported) = rank(&import) else { continue };
            if rank(module).is_none_or(|own| imported < own) && rank(&by) != Some(imported) {
                upward.push(format!("{module} reaches {import} by {by}"));
            }
        }
    }
    assert!(upward.is_empty(), "imports that go up:\n{}", upward.join("\n"));
}

#[test]
fn the_packet_path_knows_nothing_of_signalling() {
    let sources = Sources::read();
    let knowing = sources.code.iter().filter(|(module, tokens)| {
        WITHOUT_SIGNALLING.contains(&top(module)) && tokens.iter().any(|token| token == "livekit_protocol")
    });
    assert_eq!(knowing.map(|(module, _)| module).collect::<Vec<_>>(), Vec::<&Module>::new());
}

#[test]
fn files_import_each_other_in_no_circle() {
    let graph = Sources::read().graph();
    let reached: BTreeMap<_, _> = graph.keys().map(|module| (module, reachable(&graph, module))).collect();
    let mut edges = Vec::new();
    for (from, imports) in &graph {
        let in_circle = imports.iter().filter(|to| reached[to].contains_key(from));
        edges.extend(in_circle.map(|to| format!("{from} -> {to}")));
    }
    assert!(edges.is_empty(), "imports that are part of a circle:\n{}", edges.join("\n"));
}

#[test]
fn reads_paths_as_the_compiler_does() {
    let text = "use crate::a::{b, c::{D, e}};\nfn f<'a>() { let _ = ('{', \"crate::x\"); /* */ super::g::h() } // crate::y\n\
                #[cfg(test)]\nmod tests { use crate::z; }\n#[cfg(test)]\nmod other;\nmod own;";
    let code = without_tests(&tokens(text));
    assert!(!["x", "y", "z", "other"].iter().any(|name| code.iter().any(|token| token == name)));
    let mut sources = Sources { code: BTreeMap::new(), children: BTreeMap::new() };
    for module in ["", "a", "a::b", "a::c", "a::c::e", "g", "m"] {
        sources.code.insert(module.to_owned(), if module == "m" { code.clone() } else { Vec::new() });
        sources.children.insert(module.to_owned(), Vec::new());
    }
    assert_eq!(sources.imports("m").into_iter().collect::<Vec<_>>(), ["a::b", "a::c", "a::c::e", "g"]);
}
