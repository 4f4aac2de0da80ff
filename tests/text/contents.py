"""Text with inline tags, well-formed or not, for laws."""

from hypothesis import strategies as st

from nmtcli.text.inline import Tag, merged

TEXT = st.text(alphabet="ab .,é語_1", max_size=6)
NAMES = st.sampled_from(["b", "i", "a", "x"])
SINGLE = st.sampled_from(["<br/>", "<x/>"]).map(lambda text: Tag(text, "single", text))


def element(name, inner):
    return (Tag(f"<{name}>", "open", name), *inner, Tag(f"</{name}>", "close", name))


def flat(parts):
    return tuple(part for one in parts for part in (one if isinstance(one, tuple) else (one,)))


WELL_FORMED = st.recursive(
    TEXT | SINGLE,
    lambda inner: (
        st.builds(element, NAMES, st.lists(inner, max_size=3).map(flat)) | st.lists(inner, max_size=4).map(flat)
    ),
    max_leaves=10,
).map(lambda content: merged(content if isinstance(content, tuple) else (content,)))

ANY_TAG = st.builds(
    lambda name, role: Tag(f"<{'/' * (role == 'close')}{name}>", role, name), NAMES, st.sampled_from(["open", "close"])
)
ANY = st.lists(TEXT | SINGLE | ANY_TAG, max_size=10).map(merged)
