"""Whatever is given for an architecture, the answer is one short sentence, at once."""

from __future__ import annotations

import pytest

from morphogen.core import MorphogenError
from morphogen.spaces import make, registered

NINES = "9" * 10_000

TEXTS = {
    "long": "|nor_conv_3x3~0|+" * 10**6,
    "nul": "|none~0|\0",
    "surrogate": "|\ud800~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    "brackets": "Genotype(normal=" + "[" * 5000 + "]" * 5000 + ")",
    "signs": "Genotype(normal=" + "-" * 9000 + "1)",
    "digits": f"Genotype(normal=[('none', {NINES[:9000]})])",
    "range": "Genotype(normal=[], normal_concat=range(10**9), reduce=[], reduce_concat=[])",
    "wide-range": "Genotype(normal=[], normal_concat=range(1000000000), reduce=[], "
    "reduce_concat=range(99999999999999999999999999))",
    "infinite": "Genotype(normal=[('none', 1e999)], normal_concat=[1e999], reduce=[], "
    "reduce_concat=[])",
    "code": "Genotype(normal=__import__('os').getpid(), reduce=[])",
    "twice": "Genotype(normal=[], normal=[], reduce=[])",
    "stars": "Genotype(**{'normal': []})",
    "source": f"normal: none~{NINES[:4000]} none~1 | a~0 b~1 | a~0 b~1 | a~0 b~1 ; reduce: "
    "a~0 b~1 | a~0 b~1 | a~0 b~1 | a~0 b~1",
    "other-digits": "\u0661\u0662\u0660\u0661\u0662\u0660\u0661\u0662",
    "blank": " \n\t",
    "semicolons": ";" * 9000,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("name", registered())
def test_a_hostile_text_is_one_short_sentence(name, text):
    with pytest.raises(MorphogenError) as caught:
        make(name).parse(text)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 6000


@pytest.mark.parametrize("value", [None, 3, b"12", ["12"], object])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(MorphogenError, match="accepted: its text"):
        make("nasbench-macro").parse(value)
