"""Language codes."""

# Languages with rules of their own for sentences or scores, by their codes of three letters, as FLORES and Tatoeba
# write them (ISO 639-3)
_CODES = (
    "amh:am ara:ar arb:ar ben:bn bod:bo bul:bg cat:ca ces:cs cmn:zh dan:da deu:de ell:el eng:en fas:fa fin:fi"
    " fra:fr guj:gu heb:he hin:hi hun:hu hye:hy ind:id isl:is ita:it jpn:ja kan:kn kat:ka kaz:kk khm:km kor:ko"
    " lao:lo lav:lv lit:lt mal:ml mar:mr mya:my nld:nl nno:nn nob:nb nor:no ori:or ory:or pan:pa pes:fa pol:pl"
    " por:pt ron:ro rus:ru slk:sk slv:sl spa:es swe:sv tam:ta tel:te tha:th tur:tr ukr:uk urd:ur vie:vi zho:zh"
)
_TWO_LETTERS = dict(pair.split(":") for pair in _CODES.split())


def primary(language: str) -> str:
    """The code of a language without script and region, of two letters where the table has it: `zh` of `zho_Hans`."""
    code = language.replace("_", "-").split("-")[0].lower()
    return _TWO_LETTERS.get(code, code)
