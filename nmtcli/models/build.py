"""Construction of the encoder and decoder types."""

from nmtcli.config import ModelConfig
from nmtcli.models.recurrent import RecurrentDecoder, RecurrentEncoder
from nmtcli.models.ssru import SsruDecoder
from nmtcli.models.transformer import TransformerDecoder, TransformerEncoder


def make_encoder(config: ModelConfig) -> RecurrentEncoder | TransformerEncoder:
    """A new encoder of `config.encoder.type`."""
    match config.encoder.type:
        case "rnn":
            return RecurrentEncoder(config)
        case "transformer":
            return TransformerEncoder(config)


def make_decoder(config: ModelConfig) -> RecurrentDecoder | TransformerDecoder | SsruDecoder:
    """A new decoder of `config.decoder.type`."""
    match config.decoder.type:
        case "rnn":
            return RecurrentDecoder(config)
        case "transformer":
            return TransformerDecoder(config)
        case "ssru":
            return SsruDecoder(config)
