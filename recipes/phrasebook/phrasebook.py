"""Write a small English-Korean corpus of everyday sentences: the embedded corpus of `make demo` and of the tests.

The sentences are made here, from the word lists and the grammar below. They are for showing and testing the toolkit
and are not a real resource: the grammar is small, the situations are arbitrary, and a model trained on them
translates phrasebook sentences and nothing else.

    python recipes/phrasebook/phrasebook.py OUTPUT_DIR [--seed 1] [--pairs 20000]

writes train.en train.ko valid.en valid.ko test.en test.ko. The same seed and number give the same bytes everywhere.
Korean is in the polite style (haeyo-che), spoken by a woman (older brother: oppa, older sister: eonni).

What is held out. A *combination* is three words that belong together in a clause: who, does what, with what or
where; or which thing, is how or is where. One in ten is reserved, whatever the seed: a hash (CRC-32) of the three words
decides. A reserved combination never occurs in a training sentence; every validation and test sentence has at least
one. Each two of its three words do occur together in training, and each word of a held-out sentence, English and
Korean, occurs there at least MIN_COUNT times: the parts are known, the whole is new.
"""

from __future__ import annotations

import argparse
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations as combinations_of
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple

MIN_COUNT = 5
MIN_PAIRS = 2000
COMBINED = 3  # words in a combination
HELD_OUT_SHARE = 40  # one validation and one test sentence for so many training sentences
RESERVED_ONE_IN = 10  # of all combinations

# --- Word lists. One entry a line, fields apart by "|", words by spaces; "_" is a space within a word. ---------------

# English subject | Korean noun | pronoun that takes it up again | h: spoken of with honorifics
PEOPLE_TABLE = """
I|저|I|; we|우리|we|; he|그|he|; she|그녀|she|; they|그들|they|; Minsu|민수|he|; Jihoon|지훈|he|; Hyunwoo|현우|he|
Tom|톰|he|; David|데이비드|he|; Sujin|수진|she|; Mina|미나|she|; Jiyoung|지영|she|; Anna|안나|she|
my mother|우리 어머니|she|h; my father|우리 아버지|he|h; my grandmother|우리 할머니|she|h
my grandfather|우리 할아버지|he|h; my teacher|우리 선생님|she|h; my parents|우리 부모님|they|h
my older brother|우리 오빠|he|; my older sister|우리 언니|she|; my younger brother|제 남동생|he|
my younger sister|제 여동생|she|; my friend|제 친구|she|; my husband|제 남편|he|; my daughter|제 딸|she|
my son|제 아들|he|; the children|아이들|they|
"""

# kind: noun Korean counter, ...
COUNT_NOUNS = """
r: apple 사과 개, orange 오렌지 개, peach 복숭아 개, banana 바나나 개, strawberry 딸기 개, watermelon 수박 통
f: egg 달걀 개, tomato 토마토 개, potato 감자 개, onion 양파 개, sandwich 샌드위치 개, cake 케이크 개
w: hat 모자 개, coat 코트 벌, shirt 셔츠 벌, skirt 치마 벌, dress 원피스 벌, jacket 재킷 벌, sweater 스웨터 벌
t: bag 가방 개, wallet 지갑 개, umbrella 우산 개, phone 휴대폰 대, clock 시계 개, camera 카메라 대, plate 접시 개
t: doll 인형 개, ball 공 개, toy 장난감 개
u: computer 컴퓨터 대, car 자동차 대, bicycle 자전거 대, chair 의자 개, desk 책상 개, bed 침대 개, box 상자 개
u: sofa 소파 개, table 식탁 개, mirror 거울 개, lamp 램프 개
c: key 열쇠 개, pencil 연필 자루, pen 펜 자루, notebook 공책 권, gift 선물 개, towel 수건 장, ticket 표 장
c: photo 사진 장, map 지도 장, postcard 엽서 장, package 소포 개, ring 반지 개, newspaper 신문 부, dictionary 사전 권
g: flower 꽃 송이, tree 나무 그루
b: book 책 권, novel 소설 권, magazine 잡지 권, poem 시 편, letter 편지 통, email 이메일 통, report 보고서 개
b: movie 영화 편, song 노래 곡, story 이야기 개
a: dog 개 마리, cat 고양이 마리, bird 새 마리, rabbit 토끼 마리, horse 말 마리, cow 소 마리, duck 오리 마리
p: student 학생 명, doctor 의사 명, nurse 간호사 명, singer 가수 명, actor 배우 명, chef 요리사 명, lawyer 변호사 명
p: writer 작가 명, painter 화가 명, farmer 농부 명, scientist 과학자 명, engineer 기술자 명
k: son 아들 명, daughter 딸 명, younger_brother 남동생 명
v: bus 버스 대, train 기차 대, taxi 택시 대
h: window 창문 개, door 문 개, drawer 서랍 개, room 방 개, classroom 교실 개, bathroom 욕실 개
"""

# kind: name Korean, or name Korean measure counter; mass nouns, nouns that are always plural, and set names
MASS_NOUNS = """
d: coffee 커피 cup 잔, tea 차 cup 잔, milk 우유 glass 잔, water 물 bottle 병
e: juice 주스 glass 잔, beer 맥주 bottle 병
f: rice 밥 bowl 그릇, soup 국 bowl 그릇, noodles 국수 bowl 그릇, bread 빵, chicken 닭고기, fish 생선, kimchi 김치
f: bibimbap 비빔밥 bowl 그릇, ice_cream 아이스크림, cheese 치즈, chocolate 초콜릿, pizza 피자, salad 샐러드
w: shoes 신발 pair 켤레, socks 양말 pair 켤레, boots 부츠 pair 켤레, gloves 장갑 pair 켤레, pants 바지 pair 벌
w: glasses 안경 pair 개
s: Korean 한국어, English 영어, Japanese 일본어, Chinese 중국어, math 수학, history 역사, science 과학
x: music 음악, homework 숙제, breakfast 아침, lunch 점심, dinner 저녁, the_piano 피아노, the_guitar 기타
x: the_violin 바이올린, the_cello 첼로, soccer 축구, basketball 농구, baseball 야구, tennis 테니스, TV 텔레비전
x: the_news 뉴스, the_radio 라디오, the_light 불, the_subway 지하철, the_plane 비행기, medicine 약, taekwondo 태권도
x: money 돈, time 시간
"""

# name preposition Korean
PLACES_TABLE = """
library at 도서관, school at 학교, park in 공원, market at 시장, restaurant at 식당, cafe at 카페, hospital at 병원
bank at 은행, post_office at 우체국, station at 역, airport at 공항, office at 사무실, museum at 박물관, hotel at 호텔
beach at 바닷가, store at 가게, bookstore at 서점, department_store at 백화점, gym at 체육관, pool at 수영장
theater at 극장, kitchen in 부엌, living_room in 거실, bedroom in 침실, garden in 정원, church at 교회
university at 대학교, factory at 공장, farm on 농장, home at 집, Seoul in 서울, Busan in 부산, Daejeon in 대전
Tokyo in 도쿄, Paris in 파리, London in 런던, Vietnam in 베트남
"""

# English, past | Korean: stem, -eo form, -eu form, and the stem of another verb if that is its honorific | objects |
# places | marks. Objects: "+r" is all nouns of kind r, "tea*2" is tea, twice as likely. Marks: the (the object is
# "the ..."), many (done with a number of things), state (told of at any time), event (told of in the past only), once
# and rare (no habit), social (done with others), give (to others), to (goes to the place), please (asked for with
# -eo juseyo), 에 and 으로 (particle of the place), 이 (particle of the object), 없 and 모르 (said for "not").
VERBS_TABLE = """
eat ate|먹 먹어 먹으 드시|+r +f*7 rice*5 cheese*5 ice_cream*7|home restaurant school kitchen|social many
drink drank|마시 마셔 마시 드시|+d +e|home cafe office park|social many
have had|먹 먹어 먹으 드시|breakfast lunch dinner|home restaurant cafe hotel|social
order ordered|주문하 주문해 주문하|+d +e pizza chicken bibimbap noodles cake salad|restaurant cafe hotel|many
cook cooked|요리하 요리해 요리하|fish chicken noodles potato egg soup|home kitchen restaurant|many
make made|만들 만들어 만들|cake sandwich soup salad bread doll chair box juice toy kimchi|home kitchen school|please
 many
buy bought|사 사 사|+r +f +w +t +u +c book novel magazine flower|market store department_store|many rare
sell sold|팔 팔아 팔|+r +f +w +t flower ticket book|market store department_store|many rare
read read|읽 읽어 읽으|book novel magazine newspaper poem letter email story report|library home cafe park bedroom|many
write wrote|쓰 써 쓰|letter email novel poem report postcard story book|home library office cafe|many
draw drew|그리 그려 그리|flower tree*2 map +a|school park garden home|many
watch watched|보 봐 보|movie TV the_news soccer tennis baseball|home theater living_room hotel|social
see saw|보 봐 보|+a student singer actor farmer|park beach market farm|event
meet met|만나 만나 만나|+p|park cafe station airport restaurant bookstore|many
wait_for waited_for|기다리 기다려 기다리|+v student doctor lawyer singer|station airport|
help helped|도와주 도와줘 도와주|+p|hospital school farm office|many
teach taught|가르치 가르쳐 가르치|+s taekwondo|school university gym|many
learn learned|배우 배워 배우|+s taekwondo|school university library|many
study studied|공부하 공부해 공부하|+s|library school home cafe university|social many
listen_to listened_to|듣 들어 들으|music song the_radio the_news story|home bedroom cafe park|social
sing sang|부르 불러 부르|song|park school church theater|social
do did|하 해 하|homework|library school home cafe|
clean cleaned|청소하 청소해 청소하|room bathroom*2 classroom kitchen living_room bedroom garden office||the please
wash washed|씻 씻어 씻으|plate apple strawberry tomato potato peach|home kitchen|the
wash washed|빨 빨아 빨|shirt skirt towel sweater socks pants jacket|home hotel|the
open opened|열 열어 열|window door drawer box bag||the please
open opened|펴 펴 펴|book notebook dictionary umbrella||the
close closed|닫 닫아 닫으|window door drawer||the please
close closed|덮 덮어 덮으|book notebook dictionary||the
look_for looked_for|찾 찾아 찾으|key wallet bag phone umbrella glasses ticket ring cat|home office bedroom|the rare
lose lost|잃어버리 잃어버려 잃어버리|key wallet bag phone umbrella ring camera ticket|park station airport hotel|event
borrow borrowed|빌리 빌려 빌리|book novel umbrella bicycle car camera dictionary pen pencil|library school|many rare
fix fixed|고치 고쳐 고치|computer car bicycle clock chair camera phone bed||the please rare
use used|사용하 사용해 사용하|computer camera phone dictionary map towel|office library school hotel|
bring brought|가져오 가져와 가져오|chair umbrella plate box gift towel map camera ball||please many rare
give gave|주 줘 주|gift flower book cake hat apple doll ticket chocolate notebook||give many
show showed|보여주 보여줘 보여주|photo map letter book ring ticket camera||give rare
send sent|보내 보내 보내|letter email package gift photo postcard||give many
receive received|받 받아 받으|letter email package gift postcard flower photo|office home school|event many
choose chose|고르 골라 고르|+w gift bag doll novel|department_store store market|many rare
plant planted|심 심어 심으|tree flower potato tomato strawberry onion|garden park farm school|에 many rare
throw_away threw_away|버리 버려 버리|box chair newspaper shoes bed magazine clock sofa toy||rare
carry carried|옮기 옮겨 옮기|box chair desk table bed sofa package mirror||please the rare
hide hid|숨기 숨겨 숨기|key gift letter ring photo wallet doll|bedroom garden office|에 rare
ride rode|타 타 타|bicycle horse|park beach farm|social
take took|타 타 타|+v the_subway*4 the_plane*3|Seoul Busan Tokyo|
take took|찍 찍어 찍으|photo|park beach museum garden Paris|
take took|먹 먹어 먹으 드시|medicine|home hospital|
play played|치 쳐 치|the_piano the_guitar tennis|school home church hotel|social
play played|하 해 하|soccer basketball baseball|park school gym beach|social
play played|켜 켜 켜|the_violin the_cello|school theater church|social
wear wore|입 입어 입으|coat shirt jacket sweater pants|school office|
wear wore|신 신어 신으|shoes socks boots|school office|
wear wore|쓰 써 쓰|hat glasses|school beach|
wear wore|끼 껴 끼|gloves ring||
turn_on turned_on|켜 켜 켜|computer lamp TV the_light the_radio||the please
turn_off turned_off|끄 꺼 끄|computer lamp TV the_light the_radio||the please
visit visited|방문하 방문해 방문하|museum university factory farm Seoul Busan Tokyo Paris London Vietnam||social
work worked|일하 일해 일하||hospital bank office factory farm restaurant hotel store airport post_office bookstore|
sleep slept|자 자 자 주무시||home hotel bedroom living_room office|
rest rested|쉬 쉬어 쉬||home park garden hotel beach cafe|
exercise exercised|운동하 운동해 운동하||gym park school beach home|social
swim swam|수영하 수영해 수영하||pool beach hotel gym|social
dance danced|춤추 춤춰 춤추||park theater school beach|social
take_a_walk took_a_walk|산책하 산책해 산책하||park garden beach farm university|social
shop shopped|쇼핑하 쇼핑해 쇼핑하||market department_store Seoul Tokyo airport|social
go went|가 가 가||library school park market restaurant cafe hospital bank post_office station airport museum hotel
 beach store bookstore department_store gym pool theater church university factory home Seoul Busan Daejeon Tokyo Paris
 London Vietnam|to 에 social
come came|오 와 오||library school park restaurant cafe hospital station office museum home Seoul Busan|to 에 social
walk walked|걸어가 걸어가 걸어가||school park post_office market bank station home library church|to 에
return returned|돌아가 돌아가 돌아가||school hotel office Seoul Busan Daejeon Tokyo Vietnam|to 으로 once
move moved|이사하 이사해 이사하||Seoul Busan Daejeon Tokyo Paris London Vietnam|to 으로 once
arrive arrived|도착하 도착해 도착하||station airport hotel school office museum theater|에 event
become became|되 돼 되|+p||이 once
like liked|좋아하 좋아해 좋아하|+r +f +d +e +s +a music soccer baseball movie*5 novel flower||state
hate hated|싫어하 싫어해 싫어하|+r +f +d +e +s basketball tennis||state
know knew|알 알아 알|+p||state 모르
need needed|필요하 필요해 필요하|pen*4 pencil towel map key ticket chair car umbrella dictionary money*4 time*4||state
 이 many
have had|있 있어 있으|+k*28 cat dog rabbit bird car computer bicycle camera umbrella ticket money*7 time*6||state 이 없
 many
raise raised|키우 키워 키우|+a|home farm garden|state many
live lived|살 살아 살||Seoul Busan Daejeon Tokyo Paris London Vietnam|state 에
be was|있 있어 있으 계시||library school park hospital office home station cafe gym|state 에 없
"""
# The verbs above marked "give", said of giving to an honored person.
HUMBLE = {"give": "드리 드려 드리", "show": "보여드리 보여드려 보여드리", "send": "보내드리 보내드려 보내드리"}

# English, comparative | Korean forms, or "-" and the form before a noun where it is no predicate | kinds of noun
ADJECTIVES_TABLE = """
big bigger|크 커 크|t u a g l y; small smaller|작 작아 작으|t u a g l y
expensive more_expensive|비싸 비싸 비싸|r f d e w t u; cheap cheaper|싸 싸 싸|r f d e w t u
pretty prettier|예쁘 예뻐 예쁘|w; heavy heavier|무겁 무거워 무거우|t u
delicious more_delicious|맛있 맛있어 맛있으|r f d e; fresh fresher|신선하 신선해 신선하|r; sweet sweeter|달 달아 달|r
interesting more_interesting|재미있 재미있어 재미있으|b s; difficult more_difficult|어렵 어려워 어려우|b s
easy easier|쉽 쉬워 쉬우|b s; long longer|길 길어 길|b; short shorter|짧 짧아 짧으|b
famous more_famous|유명하 유명해 유명하|p l y; kind kinder|친절하 친절해 친절하|p
tall taller|키가_크 키가_커 키가_크|p; young younger|젊 젊어 젊으|p; cute cuter|귀엽 귀여워 귀여우|a
quiet quieter|조용하 조용해 조용하|l y; noisy noisier|시끄럽 시끄러워 시끄러우|l y
beautiful more_beautiful|아름답 아름다워 아름다우|l y; warm warmer|따뜻하 따뜻해 따뜻하|w
hot hotter|뜨겁 뜨거워 뜨거우|d; cold colder|차갑 차가워 차가우|d e; new|- 새|w t u c; old|- 오래된|t u b
red|- 빨간|w t u g; blue|- 파란|w t u; white|- 하얀|w t u a; black|- 검은|w t a; yellow|- 노란|w t g
fast faster|빠르 빨라 빠르|v
"""
HINDERING = 6  # so many of the states, the first ones, keep people from doing things
STATES_TABLE = """
tired|피곤하 피곤해 피곤하; busy|바쁘 바빠 바쁘; sick|아프 아파 아프 편찮으시; sleepy|졸리 졸려 졸리
hungry|배가_고프 배가_고파 배가_고프; sad|슬프 슬퍼 슬프; thirsty|목이_마르 목이_말라 목이_마르
happy|행복하 행복해 행복하; bored|심심하 심심해 심심하; healthy|건강하 건강해 건강하
"""
WEATHER_TABLE = """
rain rained||비가_오 비가_와 비가_오; snow snowed||눈이_오 눈이_와 눈이_오
be was|cold|날씨가_춥 날씨가_추워 날씨가_추우; be was|hot|날씨가_덥 날씨가_더워 날씨가_더우
be was|windy|바람이_불 바람이_불어 바람이_불; be was|cloudy|날씨가_흐리 날씨가_흐려 날씨가_흐리
"""
# English | Korean | the name of what it speaks of | kinds of things found there
LOCATIONS_TABLE = """
on the table|식탁 위|table|+r +f book letter; on the desk|책상 위|desk|+c book magazine letter
in the box|상자 안|box|+r +c +t; in the bag|가방 안|bag|+r +c book
under the bed|침대 밑|bed|cat dog rabbit ball toy box shoes; next to the sofa|소파 옆|sofa|cat dog lamp chair bag box
in front of the window|창문 앞|window|desk chair mirror lamp cat; in the garden|정원|garden|+a +g chair
in the classroom|교실|classroom|+p desk chair computer; in the kitchen|부엌|kitchen|+f +r +d +e table plate
in the drawer|서랍 안|drawer|+c wallet camera book; in the room|방|room|bed desk sofa computer mirror cat dog clock
"""
PAST_TABLE = """
yesterday|어제; last night|어젯밤에; this morning|오늘 아침에; last week|지난주에; last weekend|지난 주말에
last month|지난달에; last year|작년에; two days ago|이틀 전에; an hour ago|한 시간 전에; three weeks ago|삼 주 전에
yesterday evening|어제저녁에; last Monday|지난 월요일에; last Tuesday|지난 화요일에; last Wednesday|지난 수요일에
last Thursday|지난 목요일에; last Friday|지난 금요일에; last Saturday|지난 토요일에; last Sunday|지난 일요일에
"""
FUTURE_TABLE = """
tomorrow|내일; tonight|오늘 밤에; next week|다음 주에; next month|다음 달에; next year|내년에; this weekend|이번 주말에
tomorrow morning|내일 아침에; this afternoon|오늘 오후에; in two days|이틀 후에; in an hour|한 시간 후에
this Monday|이번 월요일에; this Tuesday|이번 화요일에; this Wednesday|이번 수요일에; this Thursday|이번 목요일에
this Friday|이번 금요일에; this Saturday|이번 토요일에; this Sunday|이번 일요일에
"""
HABIT_TABLE = """
every day|매일; every morning|매일 아침; every evening|매일 저녁; every week|매주; on weekends|주말에; these days|요즘
often|자주; usually|보통; always|항상; sometimes|가끔; on Mondays|월요일마다; on Tuesdays|화요일마다
on Wednesdays|수요일마다; on Thursdays|목요일마다; on Fridays|금요일마다; on Saturdays|토요일마다
on Sundays|일요일마다
"""
NOT_HABIT_TABLE = "these days|요즘; on weekends|주말에; in the morning|아침에; in the evening|저녁에; at night|밤에"
TRANSPORT_TABLE = "train 기차, bus 버스, car 자동차, taxi 택시, subway 지하철, bicycle 자전거"
NUMBERS_TABLE = """
one 한, two 두, three 세, four 네, five 다섯, six 여섯, seven 일곱, eight 여덟, nine 아홉, ten 열, eleven 열한
twelve 열두
"""
# Not done before anything else with a thing ("the cake that she ate"), and not done with a thing already there.
NOT_LASTING = "become teach eat cook order sell throw_away"
NOT_AFTERWARDS = "become teach eat cook order buy make write plant raise"
NONSENSE = (("breakfast", "night evening afternoon"), ("lunch", "night morning evening"), ("dinner", "morning"))
BEFORE_VERB = ("often", "usually", "always", "sometimes")
NAMED = "xsly"  # the kinds of nouns that take neither number nor article nor adjective

# --- Hangul: particles and endings follow the final consonant, which the code of a syllable tells. -------------------

FINALS = {"": 0, "ㄴ": 4, "ㄹ": 8, "ㅆ": 20}


def final_consonant(word: str) -> int:
    """The number of the last syllable's final consonant; 0 where it ends in a vowel."""
    code = ord(word[-1]) - ord("가")
    if not 0 <= code < 11172:
        raise ValueError(f"not a word in Hangul: {word!r}")
    return code % 28


def with_particle(word: str, particle: str) -> str:
    """Attach a particle given as "after a consonant/after a vowel", such as "을/를", in the form that fits the word."""
    after_consonant, after_vowel = particle.split("/")
    final = final_consonant(word)
    closed = final != 0 and not (particle == "으로/로" and final == FINALS["ㄹ"])
    return word + (after_consonant if closed else after_vowel)


def end_in(word: str, consonant: str) -> str:
    """Put a consonant at the end of the last syllable, in place of any other: 가 + ㄹ = 갈, 만들 + ㄴ = 만든."""
    return word[:-1] + chr(ord(word[-1]) - final_consonant(word) + FINALS[consonant])


@dataclass(frozen=True)
class Forms:
    """A Korean verb or adjective: stem, form in -eo, form in -eu. All its other forms are made from these three."""

    stem: str
    infinitive: str
    linking: str
    honored: bool = False

    @property
    def open_stem(self) -> str:
        """Before -n and -s the stem loses a final ㄹ: 살 -> 사(는), 사(세요)."""
        return end_in(self.stem, "") if final_consonant(self.stem) == FINALS["ㄹ"] else self.stem

    def past(self) -> Forms:
        stem = end_in(self.infinitive, "ㅆ")
        return Forms(stem, stem + "어", stem + "으")

    def polite(self, tense: str = "present") -> str:
        """As the end of a sentence."""
        if tense == "future":
            return end_in(self.linking, "ㄹ") + " 거예요"
        if tense == "past":
            return self.past().infinitive + "요"
        return self.stem[:-1] + "세요" if self.honored else self.infinitive + "요"

    def honor(self, honored: bool = True) -> Forms:
        """With the honorific -si-."""
        stem = self.open_stem if self.linking == self.stem else self.linking
        return Forms(stem + "시", stem + "셔", stem + "시", True) if honored else self

    def after(self, words: str) -> Forms:
        return Forms(words + self.stem, words + self.infinitive, words + self.linking, self.honored)

    def modified(self, adverb: str) -> Forms:
        """With an adverb before the last word: 키가 크 -> 키가 더 크."""
        start = self.stem.rfind(" ") + 1
        last = Forms(self.stem[start:], self.infinitive[start:], self.linking[start:], self.honored)
        return last.after(f"{self.stem[:start]}{adverb} ")


class Copula(Forms):
    """To be something, and 아니다, not to be it."""

    def polite(self, tense: str = "present") -> str:
        present = self.infinitive[:-1] + {"어": "에", "여": "예"}[self.infinitive[-1]] + "요"
        return present if tense == "present" else super().polite(tense)


EXIST, DO, ABSENT = Forms("있", "있어", "있으"), Forms("하", "해", "하"), Forms("없", "없어", "없으")
NOT, WISH = Forms("않", "않아", "않으"), Forms("싶", "싶어", "싶으")
STAY_HONORED = Forms("계시", "계셔", "계시", honored=True)
INSTEAD_OF_NOT = {"없": ABSENT, "모르": Forms("모르", "몰라", "모르"), "아니": Copula("아니", "아니어", "아니")}

# --- The word lists, read. -------------------------------------------------------------------------------------------

# Words that belong together: (verb, noun) or (adjective, noun), with "" where a word stands alone; and combinations,
# which have the subject in front.
Pairs = tuple[tuple[str, ...], ...]


class Words(NamedTuple):
    """Some English, its Korean, and the words in it that belong together."""

    english: str
    korean: str
    pairs: Pairs = ()


@dataclass(frozen=True)
class Verb:
    name: str
    past: str
    korean: Forms
    suppletive: Forms | None = None  # another verb, used of an honored person
    objects: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    def of(self, honored: bool) -> Forms:
        return (self.suppletive or self.korean.honor()) if honored else self.korean

    def unmarked(self, honored: bool) -> Forms:
        """Before another verb, which carries the honorific -si- for both; only another verb stays."""
        return (self.suppletive or self.korean) if honored else self.korean


@dataclass(frozen=True)
class Noun:
    name: str
    korean: str
    kind: str
    bare: str
    unit: str = ""
    counter: str = ""

    @property
    def countable(self) -> bool:
        return bool(self.counter) and not self.unit

    @property
    def plural(self) -> bool:
        """Whether the bare form is a plural: apples, shoes."""
        return self.bare.endswith("s") and self.kind not in NAMED

    def counted(self, number: str) -> str:
        if number == "one":
            return article(f"{self.unit} of {self.name}" if self.unit else self.name)
        return f"{number} {with_s(self.unit)} of {self.name}" if self.unit else f"{number} {with_s(self.name)}"


class Adjective(NamedTuple):
    name: str
    comparative: str
    korean: Forms | None  # None for those that only stand before nouns
    attributive: str
    kinds: str


def with_s(word: str) -> str:
    """The plural of a noun, the third person of a verb."""
    if word in ("be", "have", "photo"):
        return {"be": "is", "have": "has", "photo": "photos"}[word]
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "sh", "ch", "x", "o")) else "s")


def with_ing(verb: str) -> str:
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    return verb + (verb[-1] if verb in ("swim", "shop") else "") + "ing"


def inflect(verb: str, ending: Callable[[str], str]) -> str:
    """Inflect the first word: wait for, waits for."""
    first, space, rest = verb.partition(" ")
    return ending(first) + space + rest


def article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeio" or phrase.startswith("umb") else "a ") + phrase


def rows(table: str) -> Iterator[list[str]]:
    """The entries of a table, split into fields; a line that begins with a space goes on with the one before."""
    for entry in table.replace("\n ", " ").replace(";", "\n").splitlines():
        if entry.strip():
            yield [field.strip() for field in entry.split("|")]


def split(field: str) -> list[str]:
    return [word.replace("_", " ") for word in field.split()]


def entries(table: str) -> Iterator[tuple[str, list[str]]]:
    """The entries of a table of nouns, each with the kind that heads its line."""
    for line in table.strip().splitlines():
        kind, _, rest = line.rpartition(": ")
        yield from ((kind, split(entry)) for entry in rest.split(","))


def read_nouns() -> dict[str, Noun]:
    nouns = [Noun(name, ko, kind, with_s(name), "", counter) for kind, (name, ko, counter) in entries(COUNT_NOUNS)]
    nouns += [Noun(name, ko, kind, name, *measure) for kind, (name, ko, *measure) in entries(MASS_NOUNS)]
    for _, (name, _, ko) in entries(PLACES_TABLE):
        nouns.append(Noun(name, ko, "y", name) if name[0].isupper() else Noun(name, ko, "l", f"the {name}"))
    return {noun.name: noun for noun in nouns}


NOUNS = read_nouns()
PREPOSITIONS = {name: preposition for _, (name, preposition, _) in entries(PLACES_TABLE)}


def of_kinds(kinds: str) -> tuple[str, ...]:
    return tuple(noun.name for noun in NOUNS.values() if noun.kind in kinds)


def expand(field: str) -> tuple[str, ...]:
    """A list of nouns, in which "+r" stands for all nouns of kind r and "tea*2" for tea, twice as likely."""
    names: list[str] = []
    for word in split(field):
        noun, _, times = word.partition("*")
        names += (of_kinds(noun[1:]) if noun[0] == "+" else (noun,)) * int(times or 1)
    return tuple(names)


def read_forms(field: str) -> tuple[Forms, Forms | None]:
    stem, infinitive, linking, *other = split(field)
    return Forms(stem, infinitive, linking), Forms(other[0], other[0][:-1] + "셔", other[0], True) if other else None


def read_verb(row: list[str]) -> Verb:
    (name, past), korean, places, marks = split(row[0]), read_forms(row[1]), split(row[3]), row[4].split()
    return Verb(name, past, *korean, expand(row[2]), tuple(places), tuple(marks))


def read_adjective(row: list[str]) -> Adjective:
    (name, *comparative), korean, kinds = split(row[0]), row[1], row[2].replace(" ", "")
    if korean.startswith("-"):
        return Adjective(name, "", None, korean[2:], kinds)
    forms, _ = read_forms(korean)
    attributive = forms.stem + "는" if forms.stem.endswith("있") else end_in(forms.linking, "ㄴ")
    return Adjective(name, comparative[0], forms, attributive, kinds)


VERBS = tuple(map(read_verb, rows(VERBS_TABLE)))
STATIVES = tuple(verb for verb in VERBS if "state" in verb.marks)
EVENTS = tuple(verb for verb in VERBS if "event" in verb.marks)
ACTIONS = tuple(verb for verb in VERBS if verb not in STATIVES + EVENTS)
REPEATED = tuple(verb for verb in ACTIONS if "once" not in verb.marks and "give" not in verb.marks)
MEANWHILE = tuple(verb for verb in REPEATED if verb.name in ("listen to", "drink", "wait for", "sing", "eat"))
MOTIONS = tuple(verb for verb in REPEATED if verb.name in ("go", "come"))
HABITS = tuple(verb for verb in REPEATED if "rare" not in verb.marks)
ASKED_ABOUT = tuple(verb for verb in REPEATED if "many" in verb.marks)
NAMED_VERBS = {verb.name: verb for verb in VERBS}
HUMBLE_VERBS = {name: replace(NAMED_VERBS[name], korean=read_forms(forms)[0]) for name, forms in HUMBLE.items()}
ADJECTIVES = tuple(map(read_adjective, rows(ADJECTIVES_TABLE)))
LOCATIONS = tuple((Words(row[0], row[1] + "에"), row[2], expand(row[3])) for row in rows(LOCATIONS_TABLE))
STATES = tuple((row[0], Verb("be", "was", *read_forms(row[1]))) for row in rows(STATES_TABLE))
WEATHER = tuple((row[1], read_verb([row[0], row[2], "", "", ""])) for row in rows(WEATHER_TABLE))
PAST, FUTURE, HABIT, NOT_HABIT = (
    tuple(Words(english, korean) for english, korean in rows(table))
    for table in (PAST_TABLE, FUTURE_TABLE, HABIT_TABLE, NOT_HABIT_TABLE)
)
TRANSPORT = tuple(Words(f"by {name}", f"{korean}로", (("", name),)) for _, (name, korean) in entries(TRANSPORT_TABLE))
# What is done with a thing that stays, what is done with it after that, and what is done at a place.
LASTING = [verb for verb in ACTIONS + EVENTS if verb.name not in split(NOT_LASTING)]
DONE_WITH = {name: [verb for verb in LASTING if name in verb.objects] for name in NOUNS}
DONE_AGAIN = [
    (name, verb, earlier)
    for name in of_kinds("wtucbgap")
    for verb in REPEATED
    for earlier in DONE_WITH[name]
    if NOUNS[name].countable and name in verb.objects and verb.name not in (*split(NOT_AFTERWARDS), earlier.name)
]
DONE_AT = {name: [verb for verb in REPEATED if name in verb.places and "to" not in verb.marks] for name in NOUNS}
NUMBERS = {name: korean for _, (name, korean) in entries(NUMBERS_TABLE)}
MONTHS = split("January February March April May June July August September October November December")
THOUSANDS = split("천 이천 삼천 사천 오천 육천 칠천 팔천 구천 만")  # from one thousand to ten

# --- Clauses. --------------------------------------------------------------------------------------------------------


def join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Nominal:
    """A person or a thing."""

    english: str
    korean: str
    pronoun: str = "it"
    honored: bool = False
    plural: bool = False
    counted: str = ""  # follows the particle: 사과를 세 개
    pairs: Pairs = ()

    def marked(self, particle: str) -> str:
        """With a particle, as topic, subject or object."""
        if self.korean and self.honored and particle in ("은/는", "이/가"):
            return self.korean + ("께서는" if particle == "은/는" else "께서")
        irregular = {("저", "이/가"): "제가", ("누구", "은/는"): "누가", ("", "은/는"): ""}
        marked = irregular.get((self.korean, particle))
        return join(with_particle(self.korean, particle) if marked is None else marked, self.counted)

    def again(self) -> Nominal:
        """Taken up again by a pronoun, which Korean leaves out."""
        return replace(self, english=self.pronoun, korean="", pairs=())


@dataclass(frozen=True)
class Phrase:
    """A verb with what belongs to it: in English after it, in Korean before it."""

    verb: Verb
    tail: str = ""
    head: str = ""
    pairs: Pairs = ()


class Mood(NamedTuple):
    tense: str = "present"
    modal: str = ""
    negative: bool = False


NOTHING = Words("", "")
NOW, DID, WILL = Mood(), Mood("past"), Mood("future")
NOT_NOW, DID_NOT = Mood("present", "", True), Mood("past", "", True)
DOING, WANTS, MUST = Mood("present", "progressive"), Mood("present", "want"), Mood("present", "must")
CAN, CANNOT, COULD_NOT = Mood("present", "can"), Mood("present", "can", True), Mood("past", "can", True)


def conjugate(verb: str, past: str, subject: Nominal, mood: Mood, ask: bool) -> tuple[str, str]:
    """The auxiliary, if there must be one, and the English verb."""
    tense, _, negative = mood
    no = " not" if negative else ""
    single = not subject.plural and subject.english not in ("I", "we", "you")
    if tense == "future":
        return "will" + no, verb
    if verb == "be":
        now, then = ("is", "was") if single else ("are", "were")
        if subject.english == "I":
            now, then = "am", "was"
        return (then if tense == "past" else now) + no, ""
    if negative or ask:
        return ("did" if tense == "past" else "does" if single else "do") + no, verb
    return "", past if tense == "past" else inflect(verb, with_s) if single else verb


def english_predicate(verb: Verb, subject: Nominal, mood: Mood, ask: bool = False) -> tuple[str, str]:
    if mood.modal == "can":
        able, unable = ("could", "could not") if mood.tense == "past" else ("can", "cannot")
        return unable if mood.negative else able, verb.name
    if mood.modal == "progressive":
        return conjugate("be", "was", subject, mood, ask)[0], inflect(verb.name, with_ing)
    if mood.modal:
        modal, past = {"want": ("want", "wanted"), "must": ("have", "had"), "like": ("like", "liked")}[mood.modal]
        auxiliary, main = conjugate(modal, past, subject, mood, ask)
        return auxiliary, f"{main} to {verb.name}"
    return conjugate(verb.name, verb.past, subject, mood, ask)


def with_modal(verb: Verb, subject: Nominal, modal: str, honored: bool) -> Forms:
    """The Korean verb and its auxiliary; `honored` tells whether the last of them carries the honorific."""
    base, own = verb.unmarked(subject.honored), verb.of(subject.honored)
    wish = WISH.after("고 ") if subject.english in ("I", "we", "you") else DO.honor(honored).after("고 싶어 ")
    return {
        "": own if honored else base,
        "progressive": (STAY_HONORED if honored else EXIST).after(base.stem + "고 "),
        "can": EXIST.honor(honored).after(end_in(own.linking, "ㄹ") + " 수 "),
        "must": DO.after(own.infinitive + "야 "),
        "want": wish.after(base.stem),
        "like": DO.honor(honored).after(base.open_stem + "는 것을 좋아"),
    }[modal]


def korean_forms(verb: Verb, subject: Nominal, mood: Mood) -> Forms:
    tense, modal, negative = mood
    honored = subject.honored
    if not negative:
        return with_modal(verb, subject, modal, honored)
    for instead in (INSTEAD_OF_NOT[mark] for mark in verb.marks if mark in INSTEAD_OF_NOT):
        return STAY_HONORED.modified("안") if honored and verb.suppletive else instead.honor(honored)
    # A word before the verb negates it, but not adjectives nor compounds of 하다.
    short = verb.korean.stem == "하" or not (verb.name == "be" or verb.korean.stem.endswith("하"))
    if short and (modal == "can" or (modal == "" and tense == "past")):
        return verb.of(honored).modified("못" if modal else "안")
    if modal == "can":
        return DO.honor(honored).after(verb.unmarked(honored).stem + "지 못")
    return NOT.honor(honored).after(with_modal(verb, subject, modal, False).stem + "지 ")


def say(
    subject: Nominal,
    phrase: Phrase,
    mood: Mood,
    time: Words = NOTHING,
    around: Words = NOTHING,
    ask: str = "",
    goes_on: bool = False,
) -> Words:
    """A clause, to be followed by "but" if it goes on; `around` stands within it; `ask` is a Korean word or "?"."""
    auxiliary, main = english_predicate(phrase.verb, subject, mood, bool(ask))
    often, late = (time.english, "") if time.english in BEFORE_VERB else ("", time.english)
    opening = (auxiliary, subject.english) if ask else (subject.english, auxiliary)
    english = join(*opening, often, main, phrase.tail, late, around.english)
    forms = korean_forms(phrase.verb, subject, mood)
    verb = (forms.past() if mood.tense == "past" else forms).stem + "지만" if goes_on else forms.polite(mood.tense)
    korean = join(subject.marked("은/는"), time.korean, around.korean, ask.strip("?"), phrase.head, verb)
    liked: Pairs = (("like", ""),) if mood.modal == "like" else ()
    combinations = tuple(
        (subject.english.lower(), *pair) for pair in phrase.pairs + around.pairs if all(pair) and len(pair) < COMBINED
    )
    return Words(english, korean, subject.pairs + phrase.pairs + around.pairs + liked + combinations)


def subordinate(relation: str, who: Nominal, inner: Phrase, mood: Mood) -> Words:
    """An adverbial clause: in English at the end, in Korean early, with an ending on its verb in place of a tense."""
    if relation in ("because", "if", "when"):
        english = f"{relation} {say(who, inner, mood).english}"
        modal = mood.modal.replace("progressive", "")
        forms = korean_forms(inner.verb, replace(who, english="I"), Mood("present", modal))
    else:
        verb = inner.verb.name if relation == "to" else inflect(inner.verb.name, with_ing)
        english = join(relation, verb, inner.tail)
        forms = inner.verb.unmarked(who.honored)
    stem, linking = forms.stem, forms.linking
    before, after, when = stem + "기 전에", end_in(linking, "ㄴ") + " 후에", end_in(linking, "ㄹ") + " 때"
    reason, condition, purpose, meanwhile = forms.infinitive + "서", linking + "면", linking + "러", linking + "면서"
    endings = {"because": reason, "if": condition, "when": when, "to": purpose}
    endings |= {"before": before, "after": after, "while": meanwhile}
    return Words(english, join(inner.head, endings[relation]), inner.pairs)


# --- Sentences. ------------------------------------------------------------------------------------------------------

PEOPLE = tuple(
    Nominal(en, ko, again, mark == "h", again in ("they", "we")) for en, ko, again, mark in rows(PEOPLE_TABLE)
)
OTHERS = tuple(person for person in PEOPLE if person.english not in ("I", "we", "he", "she", "they"))
YOU, IT, WHO = Nominal("you", "", "you"), Nominal("it", ""), Nominal("who", "누구")
MOODS = (
    *(NOW, NOW, NOW, NOW, DID, DID, DID, DID, DID, WILL, WILL, DOING, WANTS, MUST, CAN, Mood("past", "want")),
    *(Mood("past", "must"), Mood("present", "like"), NOT_NOW, DID_NOT, CANNOT, COULD_NOT, Mood("future", "", True)),
)


class Pair(NamedTuple):
    source: str
    target: str


class Sentence(NamedTuple):
    pair: Pair
    pairs: Pairs


def finish(words: Words, mark: str = ".") -> Sentence:
    english, korean, pairs = words
    return Sentence(Pair(english[0].upper() + english[1:] + mark, korean + mark), pairs)


class Composer:
    """Makes up sentences; each method makes one kind of part or, from `statement` on, of sentence."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.pick = random.choice

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def noun_phrase(self, name: str, choices: str) -> Nominal:
        """In one of the forms `choices`: a, p(lural), d(efinite), t(his), T(hat), m(y), n(umber), j (adjective)."""
        noun, choice = NOUNS[name], self.pick(choices)
        one, several = (name, False) if noun.countable else (noun.bare, noun.plural)
        bare = Nominal(noun.bare, noun.korean, plural=noun.plural, pairs=(("", name),))
        if noun.kind in NAMED or choice == "p":
            return bare
        if choice == "j" and (adjectives := [adjective for adjective in ADJECTIVES if noun.kind in adjective.kinds]):
            adjective = self.pick(adjectives)
            english, korean = f"{adjective.name} {one}", f"{adjective.attributive} {noun.korean}"
            english = article(english) if noun.countable else english
            return Nominal(english, korean, plural=several, pairs=((adjective.name, name),))
        if choice == "n" and noun.counter:
            number = self.pick(tuple(NUMBERS)[noun.countable : 10 if noun.kind in "rfdectwbg" else 4])
            counted = f"{NUMBERS[number]} {noun.counter}"
            return replace(bare, english=noun.counted(number), plural=number != "one", counted=counted)
        determiners = {"t": ("these" if several else "this", "이 "), "T": ("those" if several else "that", "그 ")}
        determiner, korean = (determiners | {"d": ("the", ""), "m": ("my", "제 ")}).get(choice, ("", ""))
        english = f"{determiner} {one}" if determiner else article(one) if noun.countable else one
        return replace(bare, english=english, korean=korean + noun.korean, plural=several)

    def told(self, name: str, verb: Verb) -> Nominal:
        """A thing told by what somebody did with it."""
        agent, time = self.pick(PEOPLE), self.pick((NOTHING, *PAST))
        english = join(f"the {name} that", agent.english, verb.past, time.english)
        done = end_in(verb.of(agent.honored).linking, "ㄴ")
        korean = join(agent.marked("이/가"), time.korean, done, NOUNS[name].korean)
        # the combination is that of whoever did it, not of the sentence's subject
        return Nominal(english, korean, pairs=((agent.english.lower(), verb.name, name),))

    def object_of(self, verb: Verb, counted: bool) -> Words:
        name = self.pick(verb.objects)
        noun = NOUNS[name]
        choices = {"become": "a", "like": "pppt", "hate": "pppt", "have": "aapj"}.get(verb.name, "")
        if not choices:
            choices = ("dddtT" if "the" in verb.marks else "aaapptjjj") + ("m" if noun.kind in "wtuc" else "")
        if counted and "many" in verb.marks:
            choices += "nn" if noun.countable else "nnnn"
        words = self.noun_phrase(name, choices)
        korean = words.marked("이/가" if "이" in verb.marks else "을/를")
        return Words(words.english, korean, ((verb.name, name), *words.pairs))

    def place_of(self, verb: Verb) -> Words:
        place = NOUNS[self.pick(verb.places)]
        english = f"{'to' if 'to' in verb.marks else PREPOSITIONS[place.name]} {place.bare}"
        if place.name == "home":
            english = "home" if "to" in verb.marks else "at home"
        particle = next((mark for mark in ("에", "으로") if mark in verb.marks), "에서")
        korean = with_particle(place.korean, "으로/로") if particle == "으로" else place.korean + particle
        return Words(english, korean, ((verb.name, place.name),))

    def phrase(self, verb: Verb, counted: bool = False, asked: Words = NOTHING) -> Phrase:
        """A verb with its object or place or both, and means of travel; `asked` stands in for the object."""
        parts: list[Words] = [asked]
        if verb.objects and not asked.korean:
            parts = [self.object_of(verb, counted)]
        if verb.places and (not verb.objects or self.chance(0.3)):
            parts.append(self.place_of(verb))
        if verb in MOTIONS and self.chance(0.4):
            parts.append(self.pick(TRANSPORT[:3] if NOUNS[parts[-1].pairs[0][1]].kind == "y" else TRANSPORT))
        tail, head = [part.english for part in parts], [part.korean for part in reversed(parts)]
        return Phrase(
            verb, join(*tail), join(*head), ((verb.name, ""), *(pair for part in parts for pair in part.pairs))
        )

    def activity(self, subject: Nominal, mood: Mood) -> Phrase:
        """What somebody does, now and then with or for somebody else."""
        lasting = mood in (NOW, NOT_NOW) or mood.modal in ("progressive", "can", "like")
        verbs = ACTIONS + EVENTS * 3 if mood == DID else REPEATED if lasting else ACTIONS
        verb = self.pick(HABITS if mood in (NOW, NOT_NOW) else verbs)
        phrase = self.phrase(verb, counted=not (lasting or mood.negative))
        other = self.pick([person for person in OTHERS if person != subject])
        if "give" in verb.marks:
            verb, particle = (HUMBLE_VERBS[verb.name], "께") if other.honored else (verb, "에게")
            head = f"{other.korean}{particle} {phrase.head}"
            return replace(phrase, verb=verb, tail=f"{phrase.tail} to {other.english}", head=head)
        if "social" in verb.marks and self.chance(0.25):
            head = join(with_particle(other.korean, "과/와"), phrase.head)
            return replace(phrase, tail=join(phrase.tail, "with", other.english), head=head)
        return phrase

    def condition(self, choices: Sequence[tuple[str, Verb]]) -> Phrase:
        name, verb = self.pick(choices)
        return Phrase(verb, name)

    def time(self, mood: Mood) -> Words:
        """A time that suits the mood; habits always have one, to tell "I read every day" from "I read yesterday"."""
        if mood == NOW:
            return self.pick(HABIT) if self.chance(0.7) else self.clock_time()
        if mood == NOT_NOW:
            return self.pick(NOT_HABIT)
        if mood == DOING:
            return self.pick((NOTHING, Words("now", "지금")))
        if (mood.modal in ("can", "like") and mood.tense == "present") or self.chance(0.4):
            return NOTHING
        if self.chance(0.07):
            month, day = self.random.randint(1, 12), self.random.randint(1, 15)
            return Words(f"on {MONTHS[month - 1]} {day}", f"{month}월 {day}일에")
        return self.pick(PAST if mood.tense == "past" else FUTURE)

    def clock_time(self) -> Words:
        hour, minute = self.random.randint(1, 12), self.pick((10, 20, 30, 40, 50))
        word, native = list(NUMBERS.items())[hour - 1]
        half = ("morning", "오전") if 6 <= hour < 12 else ("afternoon", "오후")
        said = (
            Words(f"at {word} o'clock", f"{native} 시에"),
            Words(f"at half past {word}", f"{native} 시 반에"),
            Words(f"at {word} in the {half[0]}", f"{half[1]} {native} 시에"),
            *[Words(f"at {hour}:{minute}", f"{hour}시 {minute}분에")] * 2,
        )
        return self.pick(said)

    def around(self, subject: Nominal, phrase: Phrase, mood: Mood) -> Words:
        """A clause around the main one: why not, for what, if, when, before, after or during what."""
        again, tense = subject.again(), "past" if mood.tense == "past" else "present"
        if mood.negative or mood == WILL:
            inner = self.condition((*(STATES[:HINDERING] if mood.negative else STATES), *WEATHER))
            who = again if any(inner.tail == name for name, _ in STATES) else IT
            if mood == WILL:
                return subordinate("if", who, inner, NOW)
            # It is raining, not: it rains.
            return subordinate("because", who, inner, Mood(tense, "" if inner.verb.name == "be" else "progressive"))
        if phrase.verb in MOTIONS and (verbs := DONE_AT[phrase.pairs[1][1]]):
            inner = self.phrase(replace(self.pick(verbs), places=()), counted=True)
            inner = replace(inner, pairs=(*inner.pairs, (inner.verb.name, phrase.pairs[1][1])))
            if mood == DID and self.chance(0.5):
                return subordinate("because", again, inner, Mood(tense, self.pick(("want", "must"))))
            return subordinate("to", again, inner, NOW)
        if mood == NOW and self.chance(0.3):
            return subordinate("when", again, self.condition(STATES), NOW)
        relation = self.pick(("before", "after", "while"))
        verbs = list(MEANWHILE if relation == "while" else REPEATED)
        verb = self.pick([verb for verb in verbs if verb.name != phrase.verb.name])
        return subordinate(relation, again, self.phrase(verb, counted=True), NOW)

    def clause(self, subject: Nominal, mood: Mood, ask: str = "") -> Words:
        phrase = self.activity(subject, mood)
        around = self.around(subject, phrase, mood) if mood != NOT_NOW and self.chance(0.25) else NOTHING
        time = NOTHING if around.english.startswith(("if", "when")) else self.time(mood)
        if around.english.startswith(("if", "when", "because", "after")) and not ask and self.chance(0.4):
            main = say(subject, phrase, mood, time, around._replace(english=""))
            return main._replace(english=f"{around.english}, {main.english}")
        return say(subject, phrase, mood, time, around, ask)

    def statement(self) -> Sentence:
        return finish(self.clause(self.pick(PEOPLE), self.pick(MOODS)))

    def question(self) -> Sentence:
        subject, mood = self.pick((YOU, self.pick(OTHERS))), self.pick([mood for mood in MOODS if not mood.negative])
        return finish(self.clause(subject, mood, "?"), "?")

    def word_question(self) -> Sentence:
        subject, mood = self.pick((YOU, *PEOPLE[1:])), self.pick((DID, DID, WILL, NOW, WANTS, MUST))
        word, time = self.pick(("who", "what", "what", "how many", "where", "when", "why")), self.time(mood)
        if word == "who":
            return finish(say(WHO, self.activity(WHO, mood), mood, time), "?")
        verb, asked, ask = self.pick(REPEATED), NOTHING, {"when": "언제", "why": "왜"}.get(word, "?")
        if word == "when":
            mood, time = self.pick((DID, WILL, MUST)), NOTHING
        elif word == "where":
            verb = self.pick([verb for verb in REPEATED if verb.places])
            verb, ask = replace(verb, places=()), "어디에" if "에" in verb.marks else "어디에서"
        elif word == "what":
            verb = self.pick(ASKED_ABOUT)
            person = NOUNS[verb.objects[0]].kind == "p"
            word, asked = ("who", Words("", "누구를")) if person else (word, Words("", "무엇을"))
        elif word == "how many":
            verb = self.pick([verb for verb in ASKED_ABOUT if any(NOUNS[name].countable for name in verb.objects)])
            noun = self.pick([NOUNS[name] for name in verb.objects if NOUNS[name].countable])
            korean = f"{with_particle(noun.korean, '을/를')} 몇 {noun.counter}"
            word, asked = f"how many {noun.bare}", Words("", korean, ((verb.name, noun.name),))
        words = say(subject, self.phrase(verb, asked=asked), mood, time, ask=ask)
        return finish(words._replace(english=f"{word} {words.english}"), "?")

    def request(self) -> Sentence:
        verb, kind = self.pick(REPEATED), self.pick(("please", "please", "please do not", "let's", "shall we", "may I"))
        phrase = self.phrase(verb, counted=kind != "please do not")
        forms, together = verb.korean, kind in ("let's", "shall we")
        please = forms.infinitive + " 주세요" if "please" in verb.marks else verb.of(True).polite()
        endings = {"please": please, "please do not": forms.stem + "지 마세요", "let's": forms.polite()}
        endings |= {"shall we": end_in(forms.linking, "ㄹ") + "까요", "may I": forms.infinitive + "도 돼요"}
        english = join(kind, verb.name, phrase.tail, "together" if together else "")
        korean = join("우리 같이" if together else "", phrase.head, endings[kind])
        return finish(Words(english, korean, phrase.pairs), "?" if kind in ("shall we", "may I") else ".")

    def state(self) -> Sentence:
        """How somebody is, what somebody is, likes, has, knows."""
        subject, mood, time = self.pick(PEOPLE), self.pick((NOW, NOW, NOW, NOT_NOW, DID, DID_NOT)), NOTHING
        phrase = self.phrase(self.pick((*STATIVES, *[NAMED_VERBS["have"]] * 2)), counted=not mood.negative)
        kind = self.random.random()
        if kind < 0.3:
            phrase = self.condition(STATES)
            time = self.pick((NOTHING, NOT_HABIT[0], Words("today", "오늘")) if mood.tense == "present" else PAST)
        elif kind < 0.5 and subject in OTHERS:
            phrase = self.profession(subject, mood.negative)
        ask = "?" if not mood.negative and self.chance(0.3) else ""
        return finish(say(subject, phrase, mood, time, ask=ask), ask or ".")

    def profession(self, subject: Nominal, negative: bool) -> Phrase:
        noun = NOUNS[self.pick(of_kinds("p"))]
        stem, infinitive = with_particle(noun.korean, "이/"), with_particle(noun.korean, "이어/여")
        head = with_particle(noun.korean, "이/가") if negative else ""
        verb = Verb("be", "was", Copula(stem, infinitive, stem), marks=("아니",))
        return Phrase(verb, noun.bare if subject.plural else article(noun.name), head, (("", noun.name),))

    def description(self) -> Sentence:
        adjective = self.pick([adjective for adjective in ADJECTIVES if adjective.korean])
        name, mood = self.pick(of_kinds(adjective.kinds)), self.pick((NOW, NOW, NOT_NOW, DID))
        kind = NOUNS[name].kind
        pairs: Pairs = ((adjective.name, name),)
        thing = self.noun_phrase(name, "dttTT" + ("m" if kind in "tuwc" else ""))
        if kind in "wtucbgap" and NOUNS[name].countable and self.chance(0.2):
            thing = self.told(name, self.pick(DONE_WITH[name]))
        forms, tail, head = adjective.korean or EXIST, adjective.name, ""
        if self.chance(0.5):
            other = self.pick([noun for noun in of_kinds(kind) if noun != name])
            thing, than = (self.noun_phrase(noun, "p" if kind in "rf" else "d") for noun in (name, other))
            forms, tail = forms.modified("더"), f"{adjective.comparative} than {than.english}"
            mood, head, pairs = NOW, f"{than.korean}보다", (*pairs, (adjective.name, other))
        ask = "?" if not mood.negative and self.chance(0.25) else ""
        return finish(say(thing, Phrase(Verb("be", "was", forms), tail, head, pairs), mood, ask=ask), ask or ".")

    def existence(self) -> Sentence:
        where, location, things = self.pick(LOCATIONS)
        name, kind, mood = self.pick(things), self.pick(("some", "some", "no", "any", "it")), self.pick((NOW, NOW, DID))
        pairs = ((location, name),)
        if kind == "it":
            thing, there = self.noun_phrase(name, "dtT"), Phrase(NAMED_VERBS["be"], where.english, where.korean, pairs)
            return finish(say(thing, there, mood))
        some = self.noun_phrase(name, "ajnnn" if kind == "some" else "p")
        be, _ = conjugate("be", "was", some, mood, False)
        english = {"some": f"there {be}", "no": f"there {be} no", "any": f"{be} there any"}[kind]
        exists = (ABSENT if kind == "no" else EXIST).polite(mood.tense)
        korean = join(where.korean, some.marked("이/가"), exists)
        words = Words(join(english, some.english, where.english), korean, (*some.pairs, *pairs))
        return finish(words, "?" if kind == "any" else ".")

    def price(self) -> Sentence:
        name, number = self.pick(of_kinds("wtuc")), self.random.randrange(10)
        thing, digits = self.noun_phrase(name, "tTd"), f"{500 * self.random.randint(1, 30):,}"
        won = Words(f"{tuple(NUMBERS)[number]} thousand won", f"{THOUSANDS[number]} 원")
        won = self.pick((won, Words(f"{digits} won", f"{digits}원")))
        be = "are" if thing.plural else "is"
        kind = self.pick(("ask", "tell", "tell", "buy"))
        if kind == "ask":
            return finish(
                Words(f"how much {be} {thing.english}", f"{thing.marked('은/는')} 얼마예요", thing.pairs), "?"
            )
        if kind == "tell":
            korean = f"{thing.marked('은/는')} {won.korean}이에요"
            return finish(Words(f"{thing.english} {be} {won.english}", korean, thing.pairs))
        head = f"{thing.marked('을/를')} {won.korean}에"
        phrase = Phrase(NAMED_VERBS["buy"], f"{thing.english} for {won.english}", head, (("buy", name),))
        return finish(say(self.pick(PEOPLE), phrase, DID, self.time(DID)))

    def relative(self) -> Sentence:
        """Something done with a thing with which somebody did something else."""
        name, verb, earlier = self.pick(DONE_AGAIN)
        thing = self.told(name, earlier)
        phrase = Phrase(verb, thing.english, thing.marked("을/를"), ((verb.name, name), *thing.pairs))
        return finish(say(self.pick(PEOPLE), phrase, self.pick((DID, DID, DID_NOT, WILL, WANTS, MUST))))

    def sequence(self) -> Sentence:
        """One thing and then another: in Korean, the first verb has no tense."""
        subject, mood = self.pick(PEOPLE), self.pick((DID, DID, WILL, NOW, MUST))
        verbs = self.random.sample(HABITS if mood == NOW else REPEATED, 2)
        first, second = (self.phrase(verb, counted=mood != NOW) for verb in verbs)
        time = (
            self.pick([time for time in HABIT if time.english not in BEFORE_VERB]) if mood == NOW else self.time(mood)
        )
        head = join(first.head, first.verb.unmarked(subject.honored).stem + "고")
        korean = say(subject, second, mood, time, Words("", head, first.pairs))
        then = second.verb.name if mood == MUST else english_predicate(second.verb, subject, mood)[1]
        english = join(say(subject, first, mood).english, "and then", then, second.tail, time.english)
        return finish(korean._replace(english=english))

    def contrast(self) -> Sentence:
        """Somebody and somebody else, or a wish and what is in its way."""
        one, other = self.random.sample(OTHERS, 2)
        phrase, mood = self.phrase(self.pick(REPEATED)), self.pick((DID, CAN, Mood("past", "want")))
        first = say(one, phrase, mood, goes_on=True)
        if mood.modal == "want":
            second = say(one.again(), self.condition(STATES[:HINDERING]), DID)
        else:
            second = say(other, Phrase(phrase.verb), mood._replace(negative=True))
            second = second._replace(english=f"{other.english} {'cannot' if mood == CAN else 'did not'}")
        return finish(Words(f"{first.english}, but {second.english}", f"{first.korean} {second.korean}", first.pairs))


# --- The corpus. -----------------------------------------------------------------------------------------------------

# Each as often as it stands here.
METHODS = (
    *[Composer.statement] * 32,
    *[Composer.question, Composer.word_question] * 8,
    *[Composer.state, Composer.description] * 10,
    *[Composer.request, Composer.existence] * 6,
    *[Composer.sequence, Composer.contrast] * 4,
    *[Composer.price, Composer.relative] * 3,
)


@dataclass(frozen=True)
class Phrasebook:
    train: tuple[Pair, ...]
    valid: tuple[Pair, ...]
    test: tuple[Pair, ...]


def reserved(made: Sentence) -> list[tuple[str, ...]]:
    """The reserved combinations in a sentence."""
    combinations = (words for words in made.pairs if len(words) == COMBINED)
    return [words for words in combinations if zlib.crc32(" ".join(words).encode()) % RESERVED_ONE_IN == 0]


def twos(made: Sentence) -> set[tuple[str, ...]]:
    """Each two words that stand in one combination of a sentence."""
    return {two for words in made.pairs if len(words) == COMBINED for two in combinations_of(words, 2)}


def makes_sense(source: str) -> bool:
    """Whether nobody is named twice, and meals are eaten when they should be."""
    text = source.replace("My ", "my ").replace("The ", "the ")
    if any(text.count(person.english) > 1 for person in OTHERS):
        return False
    return not any(meal in text and time in text for meal, times in NONSENSE for time in split(times))


def compose(seed: int) -> Iterator[Sentence]:
    """Different sentences without end, each with one translation, none nonsense or naming somebody twice."""
    random = Random(seed)
    composer, translations = Composer(random), dict[str, str]()
    while True:
        made = random.choice(METHODS)(composer)
        source, target = made.pair
        if source in translations:
            assert translations[source] == target, f"{source!r}: {translations[source]!r} and {target!r}"
        elif makes_sense(source):
            translations[source] = target
            yield made


def words_of(text: str) -> list[str]:
    return [word.strip(".,?") for word in text.lower().split()]


def generate(seed: int, pairs: int) -> Phrasebook:
    """The corpus of a seed, with so many pairs for training."""
    if pairs < MIN_PAIRS:
        raise ValueError(f"{pairs} pairs are too few to hold every word several times: at least {MIN_PAIRS}")
    sentences = compose(seed)
    training = list(islice((made for made in sentences if not reserved(made)), pairs))
    train = tuple(made.pair for made in training)
    together = set().union(*map(twos, training))
    english = Counter(word for pair in train for word in words_of(pair.source))
    korean = Counter(word for pair in train for word in words_of(pair.target))

    def is_familiar(made: Sentence) -> bool:
        source, target = words_of(made.pair.source), words_of(made.pair.target)
        counts = [english[word] for word in source] + [korean[word] for word in target]
        return min(counts) >= MIN_COUNT and twos(made) <= together

    held_out = (made.pair for made in sentences if reserved(made) and is_familiar(made))
    size = pairs // HELD_OUT_SHARE
    return Phrasebook(train, tuple(islice(held_out, size)), tuple(islice(held_out, size)))


def write(phrasebook: Phrasebook, directory: Path) -> None:
    """Write the six files, each under another name first: a file that is there is whole."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, pairs in (("train", phrasebook.train), ("valid", phrasebook.valid), ("test", phrasebook.test)):
        for language, lines in (("en", [pair.source for pair in pairs]), ("ko", [pair.target for pair in pairs])):
            path = directory / f"{name}.{language}"
            partial = path.with_name(f"{path.name}.partial")
            partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
            partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a small English-Korean corpus, for showing and testing.")
    parser.add_argument("directory", type=Path, metavar="OUTPUT_DIR")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=20_000, help="sentence pairs for training (%(default)s)")
    options = parser.parse_args()
    if options.pairs < MIN_PAIRS:
        parser.error(f"--pairs must be at least {MIN_PAIRS}")
    phrasebook = generate(options.seed, options.pairs)
    write(phrasebook, options.directory)
    train, valid, test = len(phrasebook.train), len(phrasebook.valid), len(phrasebook.test)
    print(f"{options.directory}: {train} training, {valid} validation and {test} test pairs of seed {options.seed}")


if __name__ == "__main__":
    main()
