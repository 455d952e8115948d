"""The sample rates of MP3, without the code that needs them: settings import this."""

#: Rates in Hz by the version bits of a header: 3 is MPEG-1, 2 MPEG-2, 0 MPEG-2.5.
RATES_BY_VERSION = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}

#: All of them, in ascending order.
MP3_RATES = tuple(sorted(rate for rates in RATES_BY_VERSION.values() for rate in rates))
