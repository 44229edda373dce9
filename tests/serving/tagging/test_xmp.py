"""XMP documents: every spelling is read, hostile ones are refused, nothing foreign is lost."""

from __future__ import annotations

import time

import pytest

from serving.tagging.xmp import Xmp, XmpError

FRAME = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
{body}
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
FOREIGN = FRAME.format(
    body="""  <!-- a word of the user -->
  <rdf:Description xmlns:crs="urn:crs/" xmlns:dc="http://purl.org/dc/elements/1.1/" \
rdf:about="" crs:Exposure2012="+0.35">
   <dc:subject>
    <rdf:Bag>
     <rdf:li>holiday</rdf:li>
     <rdf:li>Paris</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <crs:ToneCurve><rdf:Seq><rdf:li>0, 0</rdf:li></rdf:Seq></crs:ToneCurve>
  </rdf:Description>
  <rdf:Description xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:City="Lyon"/>"""
).encode()


def test_an_untouched_document_is_unchanged() -> None:
    xmp = Xmp.parse(FOREIGN)
    assert xmp.to_bytes() == FOREIGN
    assert not xmp.changed


def test_values_are_found_in_every_spelling() -> None:
    xmp = Xmp.parse(FOREIGN)
    assert xmp.text("photoshop:City") == "Lyon"
    assert xmp.text("photoshop:Country") is None
    assert xmp.items("dc:subject") == ["holiday", "Paris"]
    simple = FRAME.format(
        body='<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<dc:subject>one</dc:subject></rdf:Description>"
    )
    assert Xmp.parse(simple.encode()).items("dc:subject") == ["one"]
    assert Xmp.parse(simple.encode("utf-16")).items("dc:subject") == ["one"]


def test_a_change_leaves_all_else_in_its_place() -> None:
    xmp = Xmp.parse(FOREIGN)
    xmp.add_items("dc:subject", ["tower"], "Bag")
    xmp.set_text("photoshop:Country", "France")
    after = xmp.to_bytes().decode()
    for line in FOREIGN.decode().splitlines():
        assert line in after, line
    again = Xmp.parse(after.encode())
    assert again.items("dc:subject") == ["holiday", "Paris", "tower"]
    assert again.text("photoshop:Country") == "France"
    again.drop_items("dc:subject", ["tower"])
    again.set_text("photoshop:Country", None)
    assert again.to_bytes() == FOREIGN


def test_a_list_of_one_spelled_as_a_value_keeps_it() -> None:
    simple = FRAME.format(
        body='<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:subject="one"/>'
    )
    xmp = Xmp.parse(simple.encode())
    xmp.add_items("dc:subject", ["two"], "Bag")
    assert Xmp.parse(xmp.to_bytes()).items("dc:subject") == ["one", "two"]


def test_an_attribute_is_replaced_and_taken_away() -> None:
    xmp = Xmp.parse(FOREIGN)
    xmp.set_text("photoshop:City", "Paris")
    assert Xmp.parse(xmp.to_bytes()).text("photoshop:City") == "Paris"
    xmp.set_text("photoshop:City", None)
    assert b"photoshop:City" not in xmp.to_bytes()


def test_setting_what_is_there_changes_nothing() -> None:
    xmp = Xmp.parse(FOREIGN)
    xmp.set_text("photoshop:City", "Lyon")
    xmp.set_items("dc:subject", ["holiday", "Paris"])
    xmp.drop_items("dc:subject", ["absent"])
    xmp.add_items("dc:subject", [], "Bag")
    assert not xmp.changed


def test_an_empty_list_of_the_user_stays() -> None:
    body = '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
    body += "<dc:subject><rdf:Bag/></dc:subject></rdf:Description>"
    content = FRAME.format(body=body).encode()
    xmp = Xmp.parse(content)
    xmp.drop_items("dc:subject", ["absent"])
    assert xmp.to_bytes() == content


def test_a_new_document_reads_back() -> None:
    xmp = Xmp.new()
    xmp.add_items("digiKam:TagsList", ["Places/France"], "Seq")
    xmp.set_text("photoshop:City", "Besançon & <Co>")
    document = xmp.to_bytes()
    assert document.startswith('<?xpacket begin="\ufeff" id='.encode())
    assert document.endswith(b'<?xpacket end="w"?>\n')
    again = Xmp.parse(document)
    assert again.text("photoshop:City") == "Besançon & <Co>"
    assert again.items("digiKam:TagsList") == ["Places/France"]
    assert again.to_bytes() == document


def hostile(doctype: str, value: str) -> str:
    body = (
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<dc:subject>{value}</dc:subject></rdf:Description>"
    )
    return f"{doctype}\n{FRAME.format(body=body)}"


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
HOSTILE = {
    "other file": hostile('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>', "&x;"),
    "laughs": hostile(f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]>', "&l11;"),
    "quadratic": hostile(f'<!DOCTYPE a [<!ENTITY x "{"a" * 50_000}">]>', "&x;" * 50_000),
    "network": hostile('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">', "a"),
    "parameter": hostile('<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/hostname"> %x;]>', "a"),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused_at_once(name: str, encoding: str) -> None:
    started = time.process_time()
    with pytest.raises(XmpError):
        Xmp.parse(HOSTILE[name].encode(encoding))
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "its XML is broken"),
        (b"\x00\x01\x02", "its XML is broken"),
        (FOREIGN[:300], "its XML is broken"),
        (b"<html/>", "it is no XMP"),
        (b" " * ((16 << 20) + 1), "too many for a sidecar"),
        (b"<a>" * 100_000, "its XML is broken"),
        (FRAME.format(body="<rdf:Description/>" * 1_001).encode(), "more than 1,000"),
    ],
    ids=["empty", "binary", "cut", "html", "large", "deep", "descriptions"],
)
def test_what_is_no_xmp_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(XmpError, match=reason):
        Xmp.parse(content)
