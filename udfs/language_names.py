"""English names of languages and their ISO 639-1 codes (639-3 where there is no two-letter one).

A table and nothing else; it includes the names that WildChat and LMSYS-Chat use.
"""

from __future__ import annotations

NAMES = """
aa Afar | ab Abkhazian, Abkhaz | ae Avestan | af Afrikaans | ak Akan | am Amharic | an Aragonese | ar Arabic
as Assamese | av Avaric | ay Aymara | az Azerbaijani, Azeri | ba Bashkir | be Belarusian | bg Bulgarian
bh Bihari | bi Bislama | bm Bambara | bn Bengali, Bangla | bo Tibetan | br Breton | bs Bosnian
ca Catalan, Valencian | ce Chechen | ch Chamorro | co Corsican | cr Cree | cs Czech | cu Church Slavic
cv Chuvash | cy Welsh | da Danish | de German | dv Divehi, Dhivehi, Maldivian | dz Dzongkha | ee Ewe
el Greek, Modern Greek | en English | eo Esperanto | es Spanish, Castilian | et Estonian | eu Basque
fa Persian, Farsi | ff Fulah, Fula | fi Finnish | fj Fijian | fo Faroese | fr French | fy Western Frisian, Frisian
ga Irish | gd Scottish Gaelic, Scots Gaelic, Gaelic | gl Galician | gn Guarani | gu Gujarati | gv Manx
ha Hausa | he Hebrew | hi Hindi | ho Hiri Motu | hr Croatian | ht Haitian Creole, Haitian | hu Hungarian
hy Armenian | hz Herero | ia Interlingua | id Indonesian | ie Interlingue | ig Igbo | ii Sichuan Yi
ik Inupiaq, Inupiak | io Ido | is Icelandic | it Italian | iu Inuktitut | ja Japanese | jv Javanese
ka Georgian | kg Kongo | ki Kikuyu | kj Kuanyama | kk Kazakh | kl Kalaallisut, Greenlandic | km Khmer
kn Kannada | ko Korean | kr Kanuri | ks Kashmiri | ku Kurdish | kv Komi | kw Cornish | ky Kyrgyz, Kirghiz
la Latin | lb Luxembourgish | lg Ganda, Luganda | li Limburgish, Limburgan | ln Lingala | lo Lao, Laothian
lt Lithuanian | lu Luba-Katanga | lv Latvian | mg Malagasy | mh Marshallese | mi Maori | mk Macedonian
ml Malayalam | mn Mongolian | mr Marathi | ms Malay | mt Maltese | my Burmese | na Nauru, Nauruan
nb Norwegian Bokmal, Bokmal, Norwegian Bokmål, Bokmål | nd North Ndebele | ne Nepali | ng Ndonga
nl Dutch, Flemish | nn Norwegian Nynorsk, Nynorsk | no Norwegian | nr South Ndebele | nv Navajo
ny Nyanja, Chichewa, Chewa | oc Occitan | oj Ojibwa | om Oromo | or Odia, Oriya | os Ossetian, Ossetic
pa Punjabi, Panjabi | pi Pali | pl Polish | ps Pashto, Pushto | pt Portuguese | qu Quechua
rm Romansh, Rhaeto Romance | rn Rundi, Kirundi | ro Romanian, Moldavian | ru Russian | rw Kinyarwanda
sa Sanskrit | sc Sardinian | sd Sindhi | se Northern Sami | sg Sango | sh Serbo-Croatian | si Sinhala, Sinhalese
sk Slovak | sl Slovenian | sm Samoan | sn Shona | so Somali | sq Albanian | sr Serbian | ss Swati, Siswant
st Southern Sotho, Sotho, Sesotho | su Sundanese | sv Swedish | sw Swahili | ta Tamil | te Telugu | tg Tajik
th Thai | ti Tigrinya | tk Turkmen | tl Tagalog, Standard Tagalog | tn Tswana | to Tonga, Tongan
tr Turkish | ts Tsonga | tt Tatar | tw Twi | ty Tahitian | ug Uighur, Uyghur | uk Ukrainian | ur Urdu | uz Uzbek
ve Venda
vi Vietnamese | vo Volapuk, Volapük | wa Walloon | wo Wolof | xh Xhosa | yi Yiddish | yo Yoruba
za Zhuang | zh Chinese, Mandarin, Simplified Chinese, Traditional Chinese, ChineseT, Mandarin Chinese | zu Zulu
ceb Cebuano | chr Cherokee | fil Filipino | haw Hawaiian | hmn Hmong | jbo Lojban | kha Khasi
lif Limbu | mfe Mauritian Creole | nso Pedi, Northern Sotho | sco Scots | syr Syriac
tlh Klingon | war Waray, Waray Philippines
yue Cantonese | ckb Sorani
"""

# Bibliographic and terminological three-letter codes of languages that have a two-letter one.
THREE_LETTERS = """
eng en | deu de | ger de | fra fr | fre fr | spa es | por pt | ita it | nld nl | dut nl | rus ru | ukr uk | pol pl
ces cs | cze cs | slk sk | slo sk | hun hu | ron ro | rum ro | bul bg | ell el | gre el | tur tr | ara ar | heb he
fas fa | per fa | hin hi | ben bn | urd ur | tam ta | tel te | mar mr | guj gu | kan kn | mal ml | pan pa | zho zh
chi zh | cmn zh | jpn ja | kor ko | vie vi | tha th | ind id | msa ms | may ms | swe sv | nor no | nob nb | nno nn
dan da | fin fi | est et | lav lv | lit lt | cat ca | eus eu | baq eu | glg gl | isl is | ice is | gle ga | cym cy
wel cy | hrv hr | srp sr | slv sl | bos bs | mkd mk | mac mk | sqi sq | alb sq | swa sw | afr af | amh am | kat ka
geo ka | hye hy | arm hy | aze az | kaz kk | uzb uz | mon mn | nep ne | sin si | mya my | bur my | khm km | lao lo
tgl tl | lat la | epo eo | yor yo | ibo ig | hau ha | zul zu | xho xh | som so
"""


def read_names() -> dict[str, str]:
    """Lower-case name or three-letter code → code."""
    codes: dict[str, str] = {}
    for entry in NAMES.replace("\n", "|").split("|"):
        code, _, names = entry.strip().partition(" ")
        for name in names.split(","):
            if name.strip():
                codes[name.strip().lower()] = code
    for entry in THREE_LETTERS.replace("\n", "|").split("|"):
        if entry.strip():
            long, code = entry.split()
            codes[long] = code
    return codes
