//! `Content-Disposition` of a form's part (RFC 7578, section 4.2), as browsers and programs really write it.
//!
//! multer reads it too, but takes a name out of the middle of another value, and a broken one for none.

/// What a part says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disposition {
    /// The field's name.
    pub(super) name: String,
    /// The file's name as its owner knows it; none if there is none, or if it is empty.
    pub(super) file_name: Option<String>,
}

impl Disposition {
    /// Reads a header's value, or says what is wrong with it.
    pub(super) fn parse(header: &[u8]) -> Result<Self, &'static str> {
        let header = std::str::from_utf8(header).map_err(|_| "the file's name is not UTF-8")?;
        let (kind, mut rest) = header.split_at(header.find(';').unwrap_or(header.len()));
        let (mut name, mut plain, mut extended) = (None, None, None);
        while let Some(parameter) = rest.strip_prefix(';') {
            if parameter.trim().is_empty() {
                break;
            }
            let (key, value) = parameter.split_once('=').ok_or(BROKEN)?;
            let (value, behind) = value_of(value.trim_start())?;
            rest = behind;
            let slot = match key.trim().to_ascii_lowercase().as_str() {
                "name" => &mut name,
                "filename" => &mut plain,
                "filename*" => &mut extended,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err("a part has two names");
            }
        }
        let name = name.ok_or("a part has no name")?;
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err(BROKEN);
        }
        let file_name = match extended {
            Some(value) => Some(decode_extended(&value)?),
            None => plain.as_deref().map(decode_plain),
        };
        Ok(Self { name, file_name: file_name.filter(|name| !name.is_empty()) })
    }
}

const BROKEN: &str = "a part has a broken Content-Disposition";

/// A parameter's value, and what stands behind it: nothing, or a semicolon and more.
fn value_of(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, behind) = text.split_at(text.find(';').unwrap_or(text.len()));
        return if value.contains('"') { Err(BROKEN) } else { Ok((value.trim_end().to_owned(), behind)) };
    };
    // Only a quote is ever escaped: browsers write a backslash as it is.
    let (mut value, mut characters) = (String::new(), quoted.char_indices().peekable());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let behind = quoted[at + 1..].trim_start();
                let ends = behind.is_empty() || behind.starts_with(';');
                return if ends { Ok((value, behind)) } else { Err(BROKEN) };
            }
            '\\' if characters.next_if(|(_, next)| *next == '"').is_some() => value.push('"'),
            other => value.push(other),
        }
    }
    Err(BROKEN)
}

/// Browsers and curl write a quote as `%22`, CR as `%0D` and LF as `%0A`, and nothing else (WHATWG HTML, "multipart form
/// data").
fn decode_plain(name: &str) -> String {
    let name = name.replace("%22", "\"");
    name.replace("%0D", "\r").replace("%0d", "\r").replace("%0A", "\n").replace("%0a", "\n")
}

/// Other clients write `filename*` (RFC 8187) although RFC 7578 asks them not to.
fn decode_extended(value: &str) -> Result<String, &'static str> {
    let mut parts = value.splitn(3, '\'');
    let (Some(charset), Some(_language), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("broken filename*");
    };
    if !charset.eq_ignore_ascii_case("utf-8") {
        return Err("filename* is not in UTF-8");
    }
    let name = percent_encoding::percent_decode_str(encoded).decode_utf8();
    Ok(name.map_err(|_| "the file's name is not UTF-8")?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_clients_write_them() {
        for (header, name, file_name) in [
            (r#"form-data; name="org_id""#, "org_id", None),
            (r#"form-data; name="file"; filename="a.jpg""#, "file", Some("a.jpg")),
            (r#"Form-Data;NAME="file";FileName="a.jpg""#, "file", Some("a.jpg")),
            ("form-data; name=file; filename=a.jpg; ", "file", Some("a.jpg")),
            ("form-data; name = file ; filename = a b.jpg ", "file", Some("a b.jpg")),
            (
                r#"form-data; filename="my name=x; name.jpg"; name="file""#,
                "file",
                Some("my name=x; name.jpg"),
            ),
            (
                r#"form-data; name="file"; filename="%22a%0D%0Ab%20c%22.jpg""#,
                "file",
                Some("\"a\r\nb%20c\".jpg"),
            ),
            (r#"form-data; name="file"; filename="\"a\"; filename*=b""#, "file", Some("\"a\"; filename*=b")),
            (r#"form-data; name="file"; filename="C:\scans\a.jpg""#, "file", Some(r"C:\scans\a.jpg")),
            (r#"form-data; name="file"; filename="a"; filename*=utf-8'de'%C3%A4'b"#, "file", Some("ä'b")),
            (r#"form-data; name="file"; filename="""#, "file", None),
            (r#"form-data; name="file"; x="filename=b"; filename="🚑.jpg""#, "file", Some("🚑.jpg")),
        ] {
            let expected = Disposition { name: name.into(), file_name: file_name.map(str::to_owned) };
            assert_eq!(Disposition::parse(header.as_bytes()), Ok(expected), "{header}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for header in [
            "",
            "form-data",
            "form-data; filename=\"a.jpg\"",
            "attachment; name=\"file\"",
            "form-data; name=\"file",
            "form-data; name=\"file\"; filename=\"a",
            "form-data; name=\"file\"; filename=\"a\" b",
            "form-data; name=\"file\"; filename=a\"b",
            "form-data; name=\"file\"; filename",
            "form-data; name=\"file\"; name=\"org_id\"",
            "form-data; name=\"file\"; filename=\"a\"; filename=\"b\"",
            "form-data; name=\"file\"; filename*=a",
            "form-data; name=\"file\"; filename*=latin1''%e4",
            "form-data; name=\"file\"; filename*=utf-8''%e4",
        ] {
            assert!(Disposition::parse(header.as_bytes()).is_err(), "{header}");
        }
    }
}
