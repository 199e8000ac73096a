//! The interface must be usable from every language: no field, oneof or method is a word that one of them
//! reserves, and everything is documented.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests fail their test

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// Reserved words, also the contextual ones that spoil generated code, of C++, C#, Dart, Go, Java, JavaScript,
/// Kotlin, PHP, Python, Ruby, Rust and Swift, as far as they could be a field's name.
const RESERVED: &str = "abstract alignas alignof and any as asm assert associatedtype async auto await base become \
    begin bitand bitor bool boolean box break byte case catch chan char checked class clone compl concept const \
    constexpr continue crate debugger decimal declare decltype default defer deferred def del delegate delete \
    deinit die do double dyn echo elif else elsif empty end enddeclare ensure enum eval event except exec exit \
    explicit export extends extension extern external factory fallthrough false fileprivate final finally fixed \
    float fn for foreach friend from fun func function gen get global go goto guard if impl implements implicit \
    import in include indirect infix init inline inout instanceof insteadof int interface internal is isset lambda \
    late lazy let library lock long loop macro map match mixin mod module move mut mutable mutating namespace \
    native new nil noexcept none nonlocal nonmutating not null nullptr object open operator optional or out \
    override package params part pass precedencegroup print priv private protected protocol pub public raise range \
    readonly redo ref register reified rescue require required rethrows retry return sbyte sealed select self set \
    short signed sizeof stackalloc static stored strictfp string struct subscript super suspend switch synchronized \
    tailrec template then this thread throw throws trait transient true try type typealias typedef typeid typename \
    typeof uint ulong unchecked undef union unless unowned unsafe unset unsigned unsized until use ushort using \
    val value var virtual void volatile weak when where while with xor yield \
    hash description descriptor";

fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(sed_proto::FILE_DESCRIPTOR_SET).unwrap();
    set.file.into_iter().filter(|file| file.package() == "sed.v1").collect()
}

fn names(message: &DescriptorProto) -> Vec<String> {
    let fields = message.field.iter().map(|field| field.name().to_owned());
    let oneofs = message.oneof_decl.iter().map(|oneof| oneof.name().to_owned());
    // The message of a map's entries appears in no generated code.
    let is_map =
        |message: &&DescriptorProto| message.options.as_ref().is_some_and(|options| options.map_entry());
    let nested = message.nested_type.iter().filter(|nested| !is_map(nested)).flat_map(names);
    fields.chain(oneofs).chain(nested).collect()
}

#[test]
fn no_name_is_reserved_in_a_clients_language() {
    let reserved: Vec<&str> = RESERVED.split_whitespace().collect();
    let mut checked = 0;
    for file in files() {
        for message in &file.message_type {
            for name in names(message) {
                assert!(!reserved.contains(&name.as_str()), "{}.{name}", message.name());
                // C# names a property after its field, and a property must not be named like its type.
                let pascal: String = name.split('_').map(capitalised).collect();
                assert_ne!(pascal, message.name());
                checked += 1;
            }
        }
    }
    assert!(checked > 80, "only {checked} names");
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[test]
fn enum_values_begin_with_a_letter_once_their_prefix_is_gone() {
    for file in files() {
        for kind in &file.enum_type {
            let prefix = screaming(kind.name());
            for value in &kind.value {
                let rest = value.name().strip_prefix(&prefix).unwrap_or_else(|| panic!("{}", value.name()));
                assert!(rest.starts_with(|letter: char| letter.is_ascii_uppercase()), "{}", value.name());
            }
        }
    }
}

/// `MaskEncoding` to `MASK_ENCODING_`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text + "_"
}

#[test]
fn the_descriptor_set_carries_the_comments() {
    for file in files() {
        let commented = file
            .source_code_info
            .iter()
            .flat_map(|info| &info.location)
            .filter(|location| !location.leading_comments().is_empty())
            .count();
        let elements: usize = file.message_type.iter().map(|message| 1 + message.field.len()).sum();
        assert!(commented >= elements, "{}: {commented} comments for {elements} elements", file.name());
    }
}
