//! Files of real programs pass, their impostors do not.

use std::time::{Duration, Instant};

use super::ole::tests::compound;
use super::*;
use crate::catalog::Catalog;

const ATTACHMENT: &str = "communications/email-attachment";

pub(super) fn object_type(path: &str) -> &'static ObjectType {
    let (system, name) = path.split_once('/').unwrap();
    Catalog::get().object_type(system, name).unwrap()
}

pub(super) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../tests/fixtures/files/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn attach(filename: &str, declared: &str, bytes: &[u8]) -> Result<&'static str, ContentError> {
    let kind = prove(object_type(ATTACHMENT), Some(filename), Some(declared), bytes)?;
    Ok(kind.media_type.as_str())
}

/// The kind's name, or the error's code.
fn verdict(path: &str, filename: &str, declared: &str, bytes: &[u8]) -> &'static str {
    match prove(object_type(path), Some(filename), Some(declared), bytes) {
        Ok(kind) => &kind.name,
        Err(error) => error.code(),
    }
}

/// An ISO media file that is only its `ftyp` box.
fn ftyp(major: &str, compatible: &[&str]) -> Vec<u8> {
    let brands = [&[major, "\0\0\0\0"], compatible].concat().concat();
    [&(8 + brands.len() as u32).to_be_bytes(), b"ftyp".as_slice(), brands.as_bytes()].concat()
}

#[test]
fn files_of_real_programs_pass_by_name_by_declaration_and_where_they_belong() {
    // File, kind, the places that take it.
    let table = [
        ("libreoffice-text.docx", "docx", "workspace/doc"),
        ("python-docx.docx", "docx", "workspace/doc"),
        ("word-order.docx", "docx", "epcr/document"),
        ("libreoffice-text.odt", "odt", "workspace/doc"),
        ("libreoffice-text.doc", "doc", "workspace/doc"),
        ("libreoffice-text.rtf", "rtf", "workspace/doc"),
        ("libreoffice-text.pdf", "pdf", "workspace/pdf"),
        ("reportlab.pdf", "pdf", "accounting/invoice"),
        ("libreoffice-table.xlsx", "xlsx", "workspace/sheet"),
        ("openpyxl.xlsx", "xlsx", "accounting/export"),
        ("libreoffice-table.ods", "ods", "workspace/sheet"),
        ("libreoffice-table.xls", "xls", "workspace/sheet"),
        ("libreoffice-slides.pptx", "pptx", "workspace/slide"),
        ("python-pptx.pptx", "pptx", "workspace/slide"),
        ("libreoffice-slides.odp", "odp", "workspace/slide"),
        ("pillow.jpg", "jpeg", "accounting/receipt"),
        ("pillow.png", "png", "accounting/receipt"),
        ("pillow.webp", "webp", "accounting/receipt"),
        ("pillow-heif.heic", "heic", "accounting/receipt"),
        ("pillow-little-endian.tiff", "tiff", "fax/inbound"),
        ("pillow-fax-g4.tif", "tiff", "fax/outbound"),
        ("big-endian.tiff", "tiff", "fax/inbound"),
        ("pillow.gif", "gif", ATTACHMENT),
        ("pillow.bmp", "bmp", ATTACHMENT),
        ("python.csv", "csv", "accounting/export"),
        ("excel-windows-1252.csv", "csv", "accounting/export"),
        ("excel-utf-8-bom.csv", "csv", "workspace/sheet"),
        ("python.eml", "eml", ATTACHMENT),
        ("claim.837", "x12", "billing/claim"),
        ("remittance.835", "x12", "billing/remittance"),
        ("info-zip.zip", "zip", "app-builder/source"),
        ("jszip-stored.zip", "zip", "app-builder/source"),
        ("python-zipfile-streamed.zip", "zip", "app-builder/build"),
    ];
    for (file, expected, place) in table {
        let bytes = fixture(file);
        let kind = object_type(place).kinds.iter().find(|kind| kind.name == expected).unwrap();
        let prove =
            |name: Option<&str>, declared: Option<&str>| prove(object_type(place), name, declared, &bytes);
        assert_eq!(prove(Some(file), None), Ok(*kind), "{file}");
        assert_eq!(prove(Some(&file.to_uppercase()), Some("application/octet-stream")), Ok(*kind), "{file}");
        assert_eq!(prove(None, Some(&kind.media_type)), Ok(*kind), "{file}, declared only");
        for declared in kind.aliases.iter().chain([&kind.media_type]) {
            let declared = format!(" {} ; charset=UTF-8", declared.to_uppercase());
            assert_eq!(prove(Some(file), Some(&declared)), Ok(*kind), "{file} as {declared}");
        }
        if kind.proof != Proof::Text {
            assert_eq!(prove(None, None), Ok(*kind), "{file}, by content only");
            assert_eq!(prove(Some("CON"), Some("")), Ok(*kind), "{file}, by content only");
        }
    }
}

#[test]
fn what_browsers_on_windows_declare_passes() {
    assert_eq!(
        attach("a.csv", "application/vnd.ms-excel", &fixture("excel-windows-1252.csv")),
        Ok("text/csv")
    );
    assert_eq!(
        attach("a.zip", "application/x-zip-compressed", &fixture("fflate.zip")),
        Ok("application/zip")
    );
    assert_eq!(
        attach("a.rtf", "application/msword", &fixture("libreoffice-text.rtf")),
        Ok("application/rtf")
    );
    assert_eq!(attach("a.jpg", "image/pjpeg", &fixture("pillow.jpg")), Ok("image/jpeg"));
    assert_eq!(attach("a.txt", "text/plain;charset=windows-1252", b"caf\xe9"), Ok("text/plain"));
}

#[test]
fn every_brand_that_phones_write_is_heic_and_no_other_film_or_picture_is() {
    let iphone = ["mif1", "MiHB", "MiHE", "MiPr", "miaf", "heic", "tmap"];
    let good = [
        ftyp("heic", &["mif1", "heic"]),
        ftyp("heic", &iphone),
        ftyp("heic", &[]),
        ftyp("heix", &["mif1", "heix"]),
        ftyp("mif1", &["mif1", "heic"]),
        ftyp("mif1", &["mif1", "miaf", "heix"]),
        ftyp("mif2", &["heic"]),
        ftyp("hevc", &["msf1", "hevc"]),
        ftyp("msf1", &["hevc", "mif1"]),
    ];
    for bytes in good {
        assert_eq!(verdict("accounting/receipt", "IMG_0001.HEIC", "image/heic", &bytes), "heic", "{bytes:?}");
        assert_eq!(verdict("accounting/receipt", "IMG_0001.heif", "image/heif", &bytes), "heic", "{bytes:?}");
    }
    for bytes in
        [ftyp("avif", &["mif1", "miaf"]), ftyp("mif1", &["avif"]), ftyp("isom", &["heic"]), ftyp("qt  ", &[])]
    {
        let verdict = verdict("accounting/receipt", "IMG_0001.HEIC", "image/heic", &bytes);
        assert_eq!(verdict, "file_type_mismatch", "{bytes:?}");
    }
}

#[test]
fn a_fax_is_a_tiff_whatever_its_first_row_holds() {
    for byte in 0..=255 {
        // Many writers put the picture before its description, that is, at byte 8.
        for data in [[byte, 0, 0, 0], [0, byte, 0, 0]] {
            let bytes = [b"II*\0\x0c\0\0\0".as_slice(), &data, &[0; 6]].concat();
            assert_eq!(verdict("fax/inbound", "fax.tif", "image/tiff", &bytes), "tiff", "{data:?}");
        }
    }
}

#[test]
fn a_pdf_may_follow_what_scanners_put_in_front_and_nothing_else() {
    let with = |before: &[u8]| [before, b"%PDF-1.4\n..."].concat();
    for before in [
        &b""[..],
        b"\n",
        b"\r\n\r\n",
        b"\xef\xbb\xbf",
        b"\0\0\0",
        b"\x1b%-12345X@PJL JOB\r\n@PJL ENTER LANGUAGE=PDF\r\n",
    ] {
        assert_eq!(
            verdict("accounting/invoice", "a.pdf", "application/pdf", &with(before)),
            "pdf",
            "{before:?}"
        );
    }
    for before in [
        &b"<html><script>alert(1)</script>"[..],
        b"GIF89a",
        b"MZ\x90\0",
        b"PK\x03\x04",
        b"text ",
        &[b' '; 1_100],
    ] {
        let verdict = verdict("accounting/invoice", "a.pdf", "application/pdf", &with(before));
        assert_eq!(verdict, "file_type_mismatch", "{before:?}");
    }
    assert_eq!(attach("a.txt", "", b"The file begins with %PDF-1.4, as it should."), Ok("text/plain"));
    assert_eq!(verdict("accounting/invoice", "a.pdf", "", b"%PDF-"), "file_type_mismatch");
}

#[test]
fn honest_text_passes_although_it_begins_like_something_else() {
    for text in [
        "BMI,weight\r\n21,70",
        "MZ,unit",
        "BZh,note",
        "BC,AB",
        "ID3,x",
        "AC1015,unit",
        "GIF,count",
        "II,III",
        "PK,id",
        "RIFF raff",
        "true,false",
        "%!",
        "#! not a path",
        "a mdat moov mdat",
        "ISA",
        "<- see above",
        "Rar, not common",
        "\u{feff}\u{44f}",
        "\t\x1b[31mred\x1b[0m",
        "a\x1cb\x1dc",
    ] {
        assert_eq!(attach("a.csv", "text/csv", text.as_bytes()), Ok("text/csv"), "{text:?}");
        assert_eq!(attach("a.txt", "text/plain", text.as_bytes()), Ok("text/plain"), "{text:?}");
    }
}

#[test]
fn script_capable_files_are_attachments_with_their_own_type() {
    for (name, declared, text) in [
        ("a.html", "text/html", "<!doctype html><title>x</title>"),
        ("a.htm", "text/html", "<html><body>x</body></html>"),
        ("a.html", "text/html", "plain"),
        ("a.svg", "image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("a.svg", "image/svg+xml", "<?xml version='1.0'?><svg/>"),
        ("a.xml", "application/xml", "<?xml version='1.0'?><a/>"),
        ("a.xml", "application/xml", "<ClinicalDocument/>"),
    ] {
        let kind = prove(object_type(ATTACHMENT), Some(name), Some(declared), text.as_bytes()).unwrap();
        assert_eq!((kind.media_type.as_str(), kind.inline), (declared, false), "{name}");
    }
}

#[test]
fn impostors_are_refused() {
    let (docx, xlsx, zip) = (fixture("python-docx.docx"), fixture("openpyxl.xlsx"), fixture("info-zip.zip"));
    let (pdf, png, heic) = (fixture("reportlab.pdf"), fixture("pillow.png"), fixture("pillow-heif.heic"));
    let exe = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0";
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let utf_16 = b"\xff\xfea\0,\0b\0";
    let ole = |streams: &[&str]| compound(streams);
    let (mismatch, type_, bad_zip) = ("file_type_mismatch", "invalid_file_type", "invalid_zip");
    let table: &[(&str, &str, &str, &[u8], &str)] = &[
        (ATTACHMENT, "setup.exe", "", exe, type_),
        (ATTACHMENT, "setup.exe.pdf", "", exe, mismatch),
        (ATTACHMENT, "report.pdf", "application/pdf", exe, mismatch),
        (ATTACHMENT, "report.pdf.exe", "application/pdf", &pdf, type_),
        (ATTACHMENT, "x.\u{202e}fdp.exe", "", &pdf, type_),
        (ATTACHMENT, "x.ｅｘｅ", "", &pdf, type_),
        (ATTACHMENT, "x.js", "", b"alert(1)", type_),
        (ATTACHMENT, "x.docm", "", &fixture("macro.docm"), type_),
        (ATTACHMENT, "x.docx", "", &fixture("macro.docm"), type_),
        (ATTACHMENT, "x.docx", "", &zip, mismatch),
        (ATTACHMENT, "x.docx", "", &xlsx, mismatch),
        (ATTACHMENT, "x.xlsx", "", &docx, mismatch),
        (ATTACHMENT, "x.pdf", "", &docx, mismatch),
        (ATTACHMENT, "x.odt", "", &fixture("libreoffice-table.ods"), mismatch),
        (ATTACHMENT, "x.odt", "", &docx, mismatch),
        (ATTACHMENT, "x.docx", "", &fixture("libreoffice-text.odt"), mismatch),
        (ATTACHMENT, "x.docx", "", &fixture("libreoffice-text.doc"), mismatch),
        (ATTACHMENT, "x.xls", "", &fixture("libreoffice-text.doc"), mismatch),
        (ATTACHMENT, "x.xls", "", &fixture("libreoffice-table.xlsx"), mismatch),
        (ATTACHMENT, "x.docx", "", &ole(&["EncryptedPackage"]), mismatch),
        (ATTACHMENT, "x.msg", "", &ole(&["Workbook"]), mismatch),
        (ATTACHMENT, "x.doc", "", &[&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], &[0; 600]].concat(), mismatch),
        (ATTACHMENT, "x.png", "", &pdf, mismatch),
        (ATTACHMENT, "x.png", "image/png", svg, mismatch),
        (ATTACHMENT, "x.pdf", "image/png", &pdf, mismatch),
        (ATTACHMENT, "x.png", "application/pdf", &png, mismatch),
        (ATTACHMENT, "x.png", "a b\r\nc", &png, mismatch),
        (ATTACHMENT, "x.jpg", "image/jpeg", &png, mismatch),
        (ATTACHMENT, "x.jpg", "image/jpeg", &heic, mismatch),
        (ATTACHMENT, "x.jpg", "", b"<html><body>hello</body></html>", mismatch),
        (ATTACHMENT, "x.gif", "image/gif", b"GIF89a/*<script>*/=1;alert(1)", mismatch),
        (ATTACHMENT, "x.gif", "image/gif", b"GIF,count\n1,2", mismatch),
        (ATTACHMENT, "x.bmp", "image/bmp", b"BMI,weight\n1,2", mismatch),
        (ATTACHMENT, "x.txt", "", b"GIF89a/*<script>*/=1;alert(1)", mismatch),
        (ATTACHMENT, "x.txt", "text/plain", b"\xef\xbb\xbf \n<HTML><script>alert(1)</script>", mismatch),
        (ATTACHMENT, "x.csv", "text/csv", b"<!DOCTYPE foo>", mismatch),
        (ATTACHMENT, "x.csv", "text/csv", svg, mismatch),
        (ATTACHMENT, "x.csv", "text/csv", b"a,b\0c", mismatch),
        (ATTACHMENT, "x.csv", "text/csv", utf_16, mismatch),
        (ATTACHMENT, "x.csv", "text/csv", &xlsx, mismatch),
        (ATTACHMENT, "x.txt", "text/plain", &pdf, mismatch),
        (ATTACHMENT, "x.txt", "text/plain", b"#!/bin/sh\nrm -rf /", mismatch),
        (ATTACHMENT, "x.txt", "text/plain", b"{\\rtf1 x}", mismatch),
        (ATTACHMENT, "x.txt", "text/plain", b"a\x90\x9d\x81", mismatch),
        (ATTACHMENT, "x.eml", "message/rfc822", b"<html>", mismatch),
        (ATTACHMENT, "x.ics", "text/calendar", b"hello", mismatch),
        (ATTACHMENT, "x.svg", "image/svg+xml", b"hello", mismatch),
        (ATTACHMENT, "x.zip", "application/zip", b"hello", bad_zip),
        (ATTACHMENT, "x.zip", "application/zip", &pdf, bad_zip),
        (ATTACHMENT, "", "application/zip", b"hello", bad_zip),
        (ATTACHMENT, "", "text/plain", exe, mismatch),
        (ATTACHMENT, "", "", b"only text", type_),
        (ATTACHMENT, "", "", exe, type_),
        (ATTACHMENT, ".htaccess", "", b"Deny from all", type_),
        (ATTACHMENT, "x.txt", "", b"", "empty_file"),
        (
            "app-builder/source",
            "app.zip",
            "application/zip",
            b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            bad_zip,
        ),
        ("app-builder/source", "app.tar", "application/x-tar", &zip, type_),
        ("accounting/receipt", "r.gif", "", &fixture("pillow.gif"), type_),
        ("accounting/receipt", "", "image/gif", &fixture("pillow.gif"), type_),
        ("accounting/receipt", "", "", &zip, type_),
        ("billing/claim", "claim.txt", "text/plain", b"no interchange", mismatch),
    ];
    for (place, name, declared, bytes, expected) in table {
        assert_eq!(verdict(place, name, declared, bytes), *expected, "{place} {name:?} {declared:?}");
    }
}

#[test]
fn an_office_document_called_zip_is_a_zip() {
    assert_eq!(attach("a.zip", "", &fixture("python-docx.docx")), Ok("application/zip"));
    // Without a name, the catalog's order makes it what it is.
    assert_eq!(
        attach("", "application/zip", &fixture("python-docx.docx")).unwrap(),
        object_type("workspace/doc").kinds[0].media_type
    );
}

#[test]
fn the_old_office_formats_and_outlook_mails_are_told_apart_by_their_streams() {
    for (name, stream, expected) in [
        ("a.ppt", "PowerPoint Document", "application/vnd.ms-powerpoint"),
        ("a.msg", "__properties_version1.0", "application/vnd.ms-outlook"),
        ("a.xls", "Book", "application/vnd.ms-excel"),
        ("a.doc", "WordDocument", "application/msword"),
    ] {
        assert_eq!(attach(name, "", &compound(&[stream])), Ok(expected));
    }
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_would_be_right() {
    let say = |place, name, declared, bytes: &[u8]| {
        prove(object_type(place), Some(name), Some(declared), bytes).unwrap_err().to_string()
    };
    let exe = b"MZ\x90\0";
    assert_eq!(
        say("accounting/receipt", "a.EXE", "", exe),
        "File type not allowed for accounting/receipt: .exe \
         (allowed: jpg, jpeg, jpe, jfif, png, heic, heif, hif, webp, tiff, tif, pdf)"
    );
    assert_eq!(
        say("accounting/invoice", "a.pdf", "", exe),
        "The file's content is not what its name says: expected .pdf, but found \
         application/vnd.microsoft.portable-executable"
    );
    assert_eq!(
        say("accounting/invoice", "a.pdf", "IMAGE/PNG; q=1", exe),
        "The file is declared as image/png, but its name says .pdf"
    );
    assert_eq!(
        say("accounting/invoice", "a", "<script>", exe),
        "File type not allowed for accounting/invoice: something that is no media type (allowed: pdf)"
    );
    assert_eq!(
        say("accounting/export", "a.csv", "", b"\xff\xfea\0"),
        "The file's content is not what its name says: expected .csv, but found UTF-16 text (save it as UTF-8)"
    );
    assert_eq!(say("app-builder/source", "a.zip", "", b"hello"), "The file is not a ZIP archive");
}

#[test]
fn no_content_takes_long_or_panics() {
    let signatures = [
        &b"PK\x03\x04"[..],
        ole::SIGNATURE,
        b"%PDF-",
        b"<",
        b" ",
        b"\0\0\0\x18ftyp",
        b"II*\0",
        b"a",
        b"\xff",
    ];
    for signature in signatures {
        for bytes in [signature.repeat((4 << 20) / signature.len()), [signature, &vec![0; 4 << 20]].concat()]
        {
            for name in ["", "a.docx", "a.zip", "a.doc", "a.txt", "a.html", "a.svg", "a.heic", "a.pdf"] {
                let start = Instant::now();
                let _ = attach(name, "", &bytes);
                assert!(
                    start.elapsed() < Duration::from_secs(20),
                    "{name} of {signature:?}: {:?}",
                    start.elapsed()
                );
            }
        }
    }
    for file in ["libreoffice-table.xls", "openpyxl.xlsx", "pillow-heif.heic", "libreoffice-table.ods"] {
        let good = fixture(file);
        for at in (0..good.len().min(1_500)).step_by(9) {
            let mut damaged = good.clone();
            damaged[at] ^= 0x55;
            let _ = attach("", "", &damaged[..good.len() - at]);
            let _ = attach("", "", &damaged[at..]);
        }
    }
}
