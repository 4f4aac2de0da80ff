"""A real-looking file of each format."""

SRT = """1
00:00:01,000 --> 00:00:02,400
The old lighthouse keeper

2
00:00:02,500 --> 00:00:04,000
had never seen <i>such a storm</i>.
Nobody had.

3
00:00:06,000 --> 00:00:08,000
- Are you coming?
- {\\an8}In a minute!

4
00:00:09,000 --> 00:00:10,000
♪ ...
"""

VTT = """WEBVTT - Lighthouse

STYLE
::cue { color: white }

NOTE
a comment

intro
00:01.000 --> 00:02.400 align:start
<v Keeper>Salt &amp; wind

00:02.500 --> 00:04.000
for <b>forty years</b>.
"""

MARKDOWN = """---
title: Not translated
---
# Install *nmt* on a server ##

Run `nmt translate -m run` with **all _necessary_ options**, see [the manual](https://a.b/c_d "Title").
A second line &amp; more\\*,{blanks}
a third ![picture](p.png) and <https://a.b> or <b>this</b>.

> Quoted text
> over two lines

1. First
2. Second
   goes on

| Name | Meaning |
|------|:-------:|
| one \\| two | `code` and text |

Heading below
-------------

```sh
nmt translate   # untouched
```

    indented code

<p align="center">Centred <i>HTML</i></p>

[ref]: https://a.b
[two]: https://a.c
See [ref], [two][], [three][ref] and ~~old~~ snake_case 2 * 3.
""".replace("{blanks}", "  ")

HTML = """<!DOCTYPE html>
<html lang="en"><head><title>The shop</title><style>p { color: red }</style>
<script>if (a < b) { document.write("<p>No</p>") }</script></head>
<body><!-- menu --><h1>Welcome &amp; <em>hello</em></h1>
<p class="x">Run <code>nmt a</code> now,<br>then <a href="u?a=1&amp;b=2">click&nbsp;here</a>.
   It is easy.</p><pre>keep  this</pre>
<ul><li>One<li>Two <img src="a.png"></ul><p translate="no">Brand</p>
<table><tr><td>12</td><td>Pieces</td></tr></table>Tail</body></html>
"""

PO = r"""# Translators
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

#: src/a.c:12
#, c-format
msgid "Hello %s, <b>welcome</b>"
msgstr ""

#. a comment
#| msgid "an older text"
msgctxt "menu"
msgid ""
"  Line one\n"
"Line \"two\"\n"
msgstr ""

msgid "finished"
msgstr "fertig"

msgid "one file"
msgid_plural "%d files"
msgstr[0] ""
msgstr[1] ""

#~ msgid "old"
#~ msgstr "alt"
"""

XLIFF = """<?xml version="1.0" encoding="UTF-8"?>
<xliff xmlns="urn:oasis:names:tc:xliff:document:1.2" version="1.2">
  <file original="a" source-language="en" datatype="plaintext"><body>
    <trans-unit id="1"><source>Press <g id="1">the <x id="2"/> button</g> &amp; wait</source>
    </trans-unit>
    <trans-unit id="2"><source>Finished</source><target state="final">Fertig</target></trans-unit>
    <trans-unit id="3" translate="no"><source>Brand</source></trans-unit>
    <trans-unit id="4">
      <source>A <bpt id="1">&lt;b&gt;</bpt>bold<ept id="1">&lt;/b&gt;</ept> word</source><target/>
    </trans-unit>
    <trans-unit id="5"><source>One. Two.</source>
      <seg-source><mrk mtype="seg" mid="1">One.</mrk> <mrk mtype="seg" mid="2">Two.</mrk></seg-source></trans-unit>
    <trans-unit id="6"><source>New text</source><target state="new">New text</target></trans-unit>
  </body></file>
</xliff>
"""

XLIFF2 = """<xliff xmlns="urn:oasis:names:tc:xliff:document:2.0" version="2.0" srcLang="en">
  <file id="f"><unit id="1">
    <segment><source>Hello <pc id="1">dear</pc> <ph id="2"/>, <mrk id="m" translate="no">Brand</mrk></source></segment>
    <segment state="final"><source>Finished</source><target>Fertig</target></segment>
    <segment><source><sc id="3"/>bold<ec startRef="3"/> word</source></segment>
  </unit><unit id="2" translate="no"><segment><source>Code</source></segment></unit></file>
</xliff>
"""

SAMPLES = {
    "a.srt": SRT,
    "a.vtt": VTT,
    "a.md": MARKDOWN,
    "a.html": HTML,
    "a.po": PO,
    "a.xlf": XLIFF,
    "b.xliff": XLIFF2,
}
