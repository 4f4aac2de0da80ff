"""Write a small English-Korean corpus of everyday sentences: the embedded corpus of `make demo` and of the tests.

The sentences are made here, from the word lists and the grammar below. They are for showing and testing the toolkit
and are not a real resource: the grammar is small, the situations are arbitrary, and a model trained on them
translates phrasebook sentences and nothing else.

    python recipes/phrasebook/phrasebook.py OUTPUT_DIR [--seed 1] [--pairs 20000]

writes train.en train.ko valid.en valid.ko test.en test.ko. The same seed and number give the same bytes everywhere.
Korean is in the polite style (haeyo-che), spoken by a woman (older brother: oppa, older sister: eonni).

What is held out. A *combination* is a verb with one of its objects or places, an adjective with a noun it describes,
or a location with a thing found there. About one in ten is reserved: a fixed hash (CRC-32) of the two English words
decides, whatever the seed. Both words of a reserved combination never stand together in a training sentence, not even
in different clauses; every validation and test sentence makes use of at least one reserved combination; and each of
its words, English and Korean, occurs at least MIN_COUNT times in training. Two kinds of combination are never
reserved, since nobody could guess them from their parts: those of words with several Korean translations (to play
the piano, soccer, the violin; to wear a coat, shoes, a hat), and those of words with fewer than MIN_CHOICES choices.
"""

from __future__ import annotations

import argparse
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple

MIN_COUNT = 5
MIN_CHOICES = 4
MIN_PAIRS = 1000
HELD_OUT_SHARE = 40  # one validation and one test sentence for so many training sentences
RESERVED_ONE_IN = 10

# --- Word lists. One entry a line, fields apart by "|", words by spaces; "_" is a space within a word. ---------------

# English subject | Korean noun | pronoun that takes it up again | h: spoken of with honorifics
PEOPLE_TABLE = """
I|저|I|; we|우리|we|; he|그|he|; she|그녀|she|; they|그들|they|; Minsu|민수|he|; Jihoon|지훈|he|; Hyunwoo|현우|he|
Tom|톰|he|; David|데이비드|he|; Sujin|수진|she|; Mina|미나|she|; Jiyoung|지영|she|; Anna|안나|she|
my mother|우리 어머니|she|h; my father|우리 아버지|he|h; my grandmother|우리 할머니|she|h
my grandfather|우리 할아버지|he|h; my teacher|우리 선생님|she|h; my parents|우리 부모님|they|h
my older brother|우리 오빠|he|; my older sister|우리 언니|she|; my younger brother|제 남동생|he|
my younger sister|제 여동생|she|; my friend|제 친구|she|; my husband|제 남편|he|; my daughter|제 딸|she|; my son|제 아들|he|
the children|아이들|they|
"""

# kind: singular plural Korean counter, ...
COUNT_NOUNS = """
r: apple apples 사과 개, orange oranges 오렌지 개, peach peaches 복숭아 개, banana bananas 바나나 개
r: strawberry strawberries 딸기 개, watermelon watermelons 수박 통
f: egg eggs 달걀 개, tomato tomatoes 토마토 개, potato potatoes 감자 개, onion onions 양파 개
f: sandwich sandwiches 샌드위치 개, cake cakes 케이크 개
w: hat hats 모자 개, coat coats 코트 벌, shirt shirts 셔츠 벌, skirt skirts 치마 벌, dress dresses 원피스 벌
w: jacket jackets 재킷 벌, sweater sweaters 스웨터 벌
t: bag bags 가방 개, wallet wallets 지갑 개, umbrella umbrellas 우산 개, phone phones 휴대폰 대, clock clocks 시계 개
t: camera cameras 카메라 대, plate plates 접시 개, doll dolls 인형 개, ball balls 공 개, toy toys 장난감 개
u: computer computers 컴퓨터 대, car cars 자동차 대, bicycle bicycles 자전거 대, chair chairs 의자 개, desk desks 책상 개
u: bed beds 침대 개, box boxes 상자 개, sofa sofas 소파 개, table tables 식탁 개, mirror mirrors 거울 개, lamp lamps 램프 개
c: key keys 열쇠 개, pencil pencils 연필 자루, pen pens 펜 자루, notebook notebooks 공책 권, gift gifts 선물 개
c: towel towels 수건 장, ticket tickets 표 장, photo photos 사진 장, map maps 지도 장, postcard postcards 엽서 장
c: package packages 소포 개, ring rings 반지 개, newspaper newspapers 신문 부, dictionary dictionaries 사전 권
g: flower flowers 꽃 송이, tree trees 나무 그루
b: book books 책 권, novel novels 소설 권, magazine magazines 잡지 권, poem poems 시 편, letter letters 편지 통
b: email emails 이메일 통, report reports 보고서 개, movie movies 영화 편, song songs 노래 곡, story stories 이야기 개
a: dog dogs 개 마리, cat cats 고양이 마리, bird birds 새 마리, rabbit rabbits 토끼 마리, horse horses 말 마리
a: cow cows 소 마리, duck ducks 오리 마리
p: student students 학생 명, doctor doctors 의사 명, nurse nurses 간호사 명, singer singers 가수 명, actor actors 배우 명
p: chef chefs 요리사 명, lawyer lawyers 변호사 명, writer writers 작가 명, painter painters 화가 명, farmer farmers 농부 명
p: scientist scientists 과학자 명, engineer engineers 기술자 명
k: son sons 아들 명, daughter daughters 딸 명, younger_brother younger_brothers 남동생 명
v: bus buses 버스 대, train trains 기차 대, taxi taxis 택시 대
h: window windows 창문 개, door doors 문 개, drawer drawers 서랍 개, room rooms 방 개, classroom classrooms 교실 개
h: bathroom bathrooms 욕실 개
"""

# kind: name Korean, or name Korean measure counter; mass nouns, nouns that are always plural, and set names
MASS_NOUNS = """
d: coffee 커피 cup 잔, tea 차 cup 잔, milk 우유 glass 잔, juice 주스 glass 잔, water 물 bottle 병, beer 맥주 bottle 병
f: rice 밥 bowl 그릇, soup 국 bowl 그릇, noodles 국수 bowl 그릇, bread 빵, chicken 닭고기, fish 생선, kimchi 김치
f: bibimbap 비빔밥 bowl 그릇, ice_cream 아이스크림, cheese 치즈, chocolate 초콜릿, pizza 피자, salad 샐러드
w: shoes 신발 pair 켤레, socks 양말 pair 켤레, boots 부츠 pair 켤레, gloves 장갑 pair 켤레, pants 바지 pair 벌
w: glasses 안경 pair 개
s: Korean 한국어, English 영어, Japanese 일본어, Chinese 중국어, math 수학, history 역사, science 과학
x: music 음악, homework 숙제, breakfast 아침, lunch 점심, dinner 저녁, the_piano 피아노, the_guitar 기타
x: the_violin 바이올린, the_cello 첼로, soccer 축구, basketball 농구, baseball 야구, tennis 테니스, TV 텔레비전, the_news 뉴스
x: the_radio 라디오, the_light 불, the_subway 지하철, the_plane 비행기, medicine 약, taekwondo 태권도, money 돈, time 시간
"""

# name preposition Korean
PLACES_TABLE = """
library at 도서관, school at 학교, park in 공원, market at 시장, restaurant at 식당, cafe at 카페, hospital at 병원, bank at 은행
post_office at 우체국, station at 역, airport at 공항, office at 사무실, museum at 박물관, hotel at 호텔, beach at 바닷가
store at 가게, bookstore at 서점, department_store at 백화점, gym at 체육관, pool at 수영장, theater at 극장, kitchen in 부엌
living_room in 거실, bedroom in 침실, garden in 정원, church at 교회, university at 대학교, factory at 공장, farm on 농장
home at 집, Seoul in 서울, Busan in 부산, Daejeon in 대전, Tokyo in 도쿄, Paris in 파리, London in 런던, Vietnam in 베트남
"""

# English forms | Korean: stem, -eo form, -eu form, honorific stem if it is another word | objects | places | marks.
# Objects "+r" are all nouns of kind r. Marks: the (object is "the ..."), state, event (told in the past only), please
# (asked for with -eo juseyo), social (done with others), to (goes to the place), 에 / 으로 (place particle),
# 이 (object takes 이/가), 없 (negated by 없다 or the honorific that follows it).
VERBS_TABLE = """
eat eats ate eating|먹 먹어 먹으 드시|+r +f|home restaurant school kitchen|social
drink drinks drank drinking|마시 마셔 마시 드시|+d|home cafe office park|social
have has had having|먹 먹어 먹으 드시|breakfast lunch dinner|home restaurant cafe hotel|social
order orders ordered ordering|주문하 주문해 주문하|+d pizza chicken bibimbap noodles cake salad|restaurant cafe hotel|
cook cooks cooked cooking|요리하 요리해 요리하|fish chicken noodles potato egg soup|home kitchen restaurant|
make makes made making|만들 만들어 만들|cake sandwich soup salad bread doll chair box juice toy kimchi|home kitchen school|please
buy buys bought buying|사 사 사|+r +f +w +t +u +c book novel magazine flower|market store department_store|
sell sells sold selling|팔 팔아 팔|+r +f +w +t flower ticket book|market store department_store|
read reads read reading|읽 읽어 읽으|book novel magazine newspaper poem letter email story report|library home cafe park bedroom|
write writes wrote writing|쓰 써 쓰|letter email novel poem report postcard story book|home library office cafe|
draw draws drew drawing|그리 그려 그리|flower tree map +a|school park garden home|
watch watches watched watching|보 봐 보|movie TV the_news soccer tennis baseball|home theater living_room hotel|social
see sees saw seeing|보 봐 보|+a student singer actor farmer|park beach market farm|event
meet meets met meeting|만나 만나 만나|+p|park cafe station airport restaurant|
wait_for waits_for waited_for waiting_for|기다리 기다려 기다리|+v student doctor lawyer singer|station airport|
help helps helped helping|도와주 도와줘 도와주|+p|hospital school farm office|
teach teaches taught teaching|가르치 가르쳐 가르치|+s taekwondo|school university gym|
learn learns learned learning|배우 배워 배우|+s taekwondo|school university library|
study studies studied studying|공부하 공부해 공부하|+s|library school home cafe university|social
listen_to listens_to listened_to listening_to|듣 들어 들으|music song the_radio the_news story|home bedroom cafe park|social
sing sings sang singing|부르 불러 부르|song|park school church theater|social
do does did doing|하 해 하|homework|library school home cafe|
clean cleans cleaned cleaning|청소하 청소해 청소하|room bathroom classroom kitchen living_room bedroom garden office||the please
wash washes washed washing|씻 씻어 씻으|plate apple strawberry tomato potato peach|home kitchen|the
wash washes washed washing|빨 빨아 빨|shirt skirt towel sweater socks pants jacket|home hotel|the
open opens opened opening|열 열어 열|window door drawer box bag||the please
open opens opened opening|펴 펴 펴|book notebook dictionary umbrella||the
close closes closed closing|닫 닫아 닫으|window door drawer||the please
close closes closed closing|덮 덮어 덮으|book notebook dictionary||the
look_for looks_for looked_for looking_for|찾 찾아 찾으|key wallet bag phone umbrella glasses ticket ring cat|home office bedroom|the
lose loses lost losing|잃어버리 잃어버려 잃어버리|key wallet bag phone umbrella ring camera ticket|park station airport hotel|event
borrow borrows borrowed borrowing|빌리 빌려 빌리|book novel umbrella bicycle car camera dictionary pen pencil|library school|
fix fixes fixed fixing|고치 고쳐 고치|computer car bicycle clock chair camera phone bed||the please
use uses used using|사용하 사용해 사용하|computer camera phone dictionary map towel|office library school hotel|
bring brings brought bringing|가져오 가져와 가져오|chair umbrella plate box gift towel map camera ball||please
give gives gave giving|주 줘 주|gift flower book cake hat apple doll ticket chocolate notebook||give
show shows showed showing|보여주 보여줘 보여주|photo map letter book ring ticket camera||give
send sends sent sending|보내 보내 보내|letter email package gift photo postcard||give
receive receives received receiving|받 받아 받으|letter email package gift postcard flower photo|office home school|event
choose chooses chose choosing|고르 골라 고르|+w gift bag doll novel|department_store store market|
raise raises raised raising|키우 키워 키우|+a|home farm garden|
plant plants planted planting|심 심어 심으|tree flower potato tomato strawberry onion|garden park farm school|에
throw_away throws_away threw_away throwing_away|버리 버려 버리|box chair newspaper shoes bed magazine clock sofa toy||
carry carries carried carrying|옮기 옮겨 옮기|box chair desk table bed sofa package mirror||please the
hide hides hid hiding|숨기 숨겨 숨기|key gift letter ring photo wallet doll|bedroom garden office|에
ride rides rode riding|타 타 타|bicycle horse|park beach farm|social
take takes took taking|타 타 타|+v the_subway the_plane|Seoul Busan Tokyo|
take takes took taking|찍 찍어 찍으|photo|park beach museum garden Paris|
take takes took taking|먹 먹어 먹으 드시|medicine|home hospital|
play plays played playing|치 쳐 치|the_piano the_guitar tennis|school home church hotel|social
play plays played playing|하 해 하|soccer basketball baseball|park school gym beach|social
play plays played playing|켜 켜 켜|the_violin the_cello|school theater church|social
wear wears wore wearing|입 입어 입으|coat shirt skirt dress jacket sweater pants|school office|
wear wears wore wearing|신 신어 신으|shoes socks boots|school office|
wear wears wore wearing|쓰 써 쓰|hat glasses|school beach|
wear wears wore wearing|끼 껴 끼|gloves ring||
turn_on turns_on turned_on turning_on|켜 켜 켜|computer lamp TV the_light the_radio||the please
turn_off turns_off turned_off turning_off|끄 꺼 끄|computer lamp TV the_light the_radio||the please
visit visits visited visiting|방문하 방문해 방문하|museum university factory farm Seoul Busan Tokyo Paris London Vietnam||social
work works worked working|일하 일해 일하||hospital bank office factory farm restaurant hotel store airport post_office|
sleep sleeps slept sleeping|자 자 자 주무시||home hotel bedroom living_room office|
rest rests rested resting|쉬 쉬어 쉬||home park garden hotel beach cafe|
exercise exercises exercised exercising|운동하 운동해 운동하||gym park school beach home|social
swim swims swam swimming|수영하 수영해 수영하||pool beach hotel gym|social
dance dances danced dancing|춤추 춤춰 춤추||park theater school beach|social
take_a_walk takes_a_walk took_a_walk taking_a_walk|산책하 산책해 산책하||park garden beach farm university|social
shop shops shopped shopping|쇼핑하 쇼핑해 쇼핑하||market department_store Seoul Tokyo airport|social
go goes went going|가 가 가||library school park market restaurant cafe hospital bank post_office station airport museum
 hotel beach store bookstore department_store gym pool theater church university home Seoul Busan Daejeon Tokyo Paris
 London Vietnam|to 에 social
come comes came coming|오 와 오||library school park restaurant cafe hospital station office museum home Seoul Busan|to 에 social
walk walks walked walking|걸어가 걸어가 걸어가||school park market bank station home library church|to 에
return returns returned returning|돌아가 돌아가 돌아가||school hotel office Seoul Busan Daejeon Tokyo Vietnam|to 으로 once
move moves moved moving|이사하 이사해 이사하||Seoul Busan Daejeon Tokyo Paris London Vietnam|to 으로 once
arrive arrives arrived arriving|도착하 도착해 도착하||station airport hotel school office museum theater|에 event
become becomes became becoming|되 돼 되|+p||이 once
like likes liked liking|좋아하 좋아해 좋아하|+r +f +d +s +a music soccer baseball movie novel flower||state
hate hates hated hating|싫어하 싫어해 싫어하|+r +f +d +s basketball tennis||state
know knows knew knowing|알 알아 알|+p||state 모르
need needs needed needing|필요하 필요해 필요하|+c +t +u money time||state 이
have has had having|있 있어 있으|+t +u +c +a +k book money time||state 이 없
live lives lived living|살 살아 살||Seoul Busan Daejeon Tokyo Paris London Vietnam|state 에
be is was being|있 있어 있으 계시||library school park hospital office home station cafe gym|state 에 없 
"""
# The verbs above marked "give", said of giving to an honored person.
HUMBLE = {"give": "드리 드려 드리", "show": "보여드리 보여드려 보여드리", "send": "보내드리 보내드려 보내드리"}

# English, comparative | Korean forms, or "-" and the form before a noun where it is no predicate | kinds of noun
ADJECTIVES_TABLE = """
big bigger|크 커 크|t u a l; small smaller|작 작아 작으|t u a l; expensive more_expensive|비싸 비싸 비싸|r f d w t u
cheap cheaper|싸 싸 싸|r f d w t u; pretty prettier|예쁘 예뻐 예쁘|w; heavy heavier|무겁 무거워 무거우|t u
delicious more_delicious|맛있 맛있어 맛있으|r f d; fresh fresher|신선하 신선해 신선하|r; sweet sweeter|달 달아 달|r
interesting more_interesting|재미있 재미있어 재미있으|b s; difficult more_difficult|어렵 어려워 어려우|b s
easy easier|쉽 쉬워 쉬우|b s; long longer|길 길어 길|b; short shorter|짧 짧아 짧으|b; famous more_famous|유명하 유명해 유명하|p l
kind kinder|친절하 친절해 친절하|p; tall taller|키가_크 키가_커 키가_크|p; young younger|젊 젊어 젊으|p
cute cuter|귀엽 귀여워 귀여우|a; quiet quieter|조용하 조용해 조용하|l; noisy noisier|시끄럽 시끄러워 시끄러우|l
beautiful more_beautiful|아름답 아름다워 아름다우|l; warm warmer|따뜻하 따뜻해 따뜻하|w; hot hotter|뜨겁 뜨거워 뜨거우|d
cold colder|차갑 차가워 차가우|d; new|- 새|w t u c; old|- 오래된|t u b; red|- 빨간|w t u g; blue|- 파란|w t u
white|- 하얀|w t u a; black|- 검은|w t a; yellow|- 노란|w t g; fast faster|빠르 빨라 빠르|v
"""
# The first six keep people from doing things.
STATES_TABLE = """
tired|피곤하 피곤해 피곤하; busy|바쁘 바빠 바쁘; sick|아프 아파 아프 편찮으시; sleepy|졸리 졸려 졸리
hungry|배가_고프 배가_고파 배가_고프; sad|슬프 슬퍼 슬프; thirsty|목이_마르 목이_말라 목이_마르; happy|행복하 행복해 행복하
bored|심심하 심심해 심심하; healthy|건강하 건강해 건강하
"""
WEATHER_TABLE = """
rain rains rained raining||비가_오 비가_와 비가_오; snow snows snowed snowing||눈이_오 눈이_와 눈이_오
be is was being|cold|날씨가_춥 날씨가_추워 날씨가_추우; be is was being|hot|날씨가_덥 날씨가_더워 날씨가_더우
be is was being|windy|바람이_불 바람이_불어 바람이_불; be is was being|cloudy|날씨가_흐리 날씨가_흐려 날씨가_흐리
"""
# English | Korean | the name of what it speaks of | kinds of things found there
LOCATIONS_TABLE = """
on the table|식탁 위|table|+r +f book letter; on the desk|책상 위|desk|+c book magazine letter; in the box|상자 안|box|+r +c +t
in the bag|가방 안|bag|+r +c book; under the bed|침대 밑|bed|+a ball toy box shoes; next to the sofa|소파 옆|sofa|+a lamp chair bag box
in front of the window|창문 앞|window|desk chair mirror lamp cat; in the garden|정원|garden|+a +g chair
in the classroom|교실|classroom|+p desk chair computer; in the kitchen|부엌|kitchen|+f +r +d table plate
in the drawer|서랍 안|drawer|+c wallet camera book; in the room|방|room|+u cat dog clock
"""
DAYS = "Monday 월 Tuesday 화 Wednesday 수 Thursday 목 Friday 금 Saturday 토 Sunday 일".split()
PAST_TABLE = """
yesterday|어제; last night|어젯밤에; this morning|오늘 아침에; last week|지난주에; last weekend|지난 주말에; last month|지난달에
last year|작년에; two days ago|이틀 전에; an hour ago|한 시간 전에; three weeks ago|삼 주 전에; yesterday evening|어제저녁에
"""
FUTURE_TABLE = """
tomorrow|내일; tonight|오늘 밤에; next week|다음 주에; next month|다음 달에; next year|내년에; this weekend|이번 주말에
tomorrow morning|내일 아침에; this afternoon|오늘 오후에; in two days|이틀 후에; in an hour|한 시간 후에
"""
HABIT_TABLE = """
every day|매일; every morning|매일 아침; every evening|매일 저녁; every week|매주; on weekends|주말에; often|자주; usually|보통
always|항상; sometimes|가끔; these days|요즘
"""
NOT_HABIT_TABLE = "these days|요즘; on weekends|주말에; in the morning|아침에; in the evening|저녁에; at night|밤에"
MONTHS = "January February March April May June July August September October November December".split()
BEFORE_VERB = ("often", "usually", "always", "sometimes")
ASKED = "eat drink buy sell read write draw cook make order learn study teach meet help borrow choose plant".split()
TRANSPORT_TABLE = "bus 버스, train 기차, taxi 택시, subway 지하철, bicycle 자전거, car 자동차"
NUMBER_WORDS = (
    "one 한 two 두 three 세 four 네 five 다섯 six 여섯 seven 일곱 eight 여덟 nine 아홉 ten 열 eleven 열한 twelve 열두 "
    "twenty 스무 thirty 서른 forty 마흔 fifty 쉰"
).split()
THOUSANDS = "천 이천 삼천 사천 오천 육천 칠천 팔천 구천 만".split()  # in order, from one thousand

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


def drop_l(stem: str) -> str:
    """Before -n and -s a stem loses its final ㄹ: 살 -> 사(세요), 사(는)."""
    return end_in(stem, "") if final_consonant(stem) == FINALS["ㄹ"] else stem


@dataclass(frozen=True)
class Forms:
    """A Korean verb or adjective: stem, form in -eo, form in -eu. All its other forms are made from these three."""

    stem: str
    infinitive: str
    linking: str
    honored: bool = False

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

    def honor(self) -> Forms:
        """With the honorific -si-."""
        stem = drop_l(self.linking)
        return Forms(stem + "시", stem + "셔", stem + "시", honored=True)

    def after(self, before: str) -> Forms:
        return Forms(before + self.stem, before + self.infinitive, before + self.linking, self.honored)

    def modified(self, adverb: str) -> Forms:
        """With an adverb before the last word: 키가 크 -> 키가 더 크."""
        start = self.stem.rfind(" ") + 1
        last = Forms(self.stem[start:], self.infinitive[start:], self.linking[start:], self.honored)
        return last.after(f"{self.stem[:start]}{adverb} ")


EXIST, DO, NOT, WISH = (
    Forms("있", "있어", "있으"),
    Forms("하", "해", "하"),
    Forms("않", "않아", "않으"),
    Forms("싶", "싶어", "싶으"),
)
OPPOSITES = {"없": Forms("없", "없어", "없으"), "모르": Forms("모르", "몰라", "모르")}
OPPOSITES |= {"아니에": Forms("아니", "아니에", "아니"), "아니어": Forms("아니", "아니어", "아니")}
STAY_HONORED = Forms("계시", "계셔", "계시", honored=True)

# --- The word lists, read. -------------------------------------------------------------------------------------------

Pairs = tuple[tuple[str, str], ...]  # combinations; a word that stands alone is one with ""


class Words(NamedTuple):
    """Some English, its Korean, and the combinations of words in it."""

    english: str
    korean: str
    pairs: Pairs = ()


class English(NamedTuple):
    base: str
    third: str
    past: str
    ing: str


@dataclass(frozen=True)
class Verb:
    english: English
    korean: Forms
    suppletive: Forms | None = None  # another word, used of an honored person
    objects: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.english.base

    def of(self, honored: bool) -> Forms:
        return (self.suppletive or self.korean.honor()) if honored else self.korean

    def unmarked(self, honored: bool) -> Forms:
        """Before another verb, which carries the honorific -si-; only another word stays."""
        return (self.suppletive or self.korean) if honored else self.korean


@dataclass(frozen=True)
class Noun:
    name: str
    single: str  # or a measure: cup of coffee
    many: str
    bare: str
    korean: str
    counter: str
    kind: str

    @property
    def countable(self) -> bool:
        return self.bare == self.many

    @property
    def plural(self) -> bool:
        """Whether the bare form is a plural: apples, shoes."""
        return self.bare.endswith("s") and self.kind not in "xsl"


class Adjective(NamedTuple):
    name: str
    comparative: str
    verb: Verb | None  # None for those that only stand before nouns
    attributive: str
    kinds: str


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
    nouns = [Noun(one, one, many, many, korean, unit, kind) for kind, (one, many, korean, unit) in entries(COUNT_NOUNS)]
    for kind, (name, korean, *measure) in entries(MASS_NOUNS):
        unit, counter = measure or ("", "")
        nouns.append(Noun(name, f"{unit} of {name}", f"{unit}s of {name}", name, korean, counter, kind))
    for _, (name, _, korean) in entries(PLACES_TABLE):
        nouns.append(Noun(name, name, "", name if name[0].isupper() else f"the {name}", korean, "", "l"))
    return {noun.name: noun for noun in nouns}


NOUNS = read_nouns()
PREPOSITIONS = {name: preposition for _, (name, preposition, _) in entries(PLACES_TABLE)}


def of_kinds(kinds: str) -> tuple[str, ...]:
    return tuple(noun.name for noun in NOUNS.values() if noun.kind in kinds)


def expand(field: str) -> tuple[str, ...]:
    """A list of nouns, in which "+r" stands for all nouns of kind r."""
    return tuple(name for word in split(field) for name in (of_kinds(word[1:]) if word[0] == "+" else (word,)))


def read_forms(field: str) -> tuple[Forms, Forms | None]:
    stem, infinitive, linking, *other = split(field)
    return Forms(stem, infinitive, linking), Forms(other[0], other[0][:-1] + "셔", other[0], True) if other else None


def read_verb(row: list[str]) -> Verb:
    english, korean, objects, places, marks = row
    return Verb(
        English(*split(english)), *read_forms(korean), expand(objects), tuple(split(places)), tuple(marks.split())
    )


def read_adjective(row: list[str]) -> Adjective:
    (name, *comparative), korean, kinds = split(row[0]), row[1], row[2].replace(" ", "")
    if korean.startswith("-"):
        return Adjective(name, "", None, korean[2:], kinds)
    forms, _ = read_forms(korean)
    attributive = forms.stem + "는" if forms.stem.endswith("있") else end_in(forms.linking, "ㄴ")
    return Adjective(name, comparative[0], Verb(BE, forms), attributive, kinds)


BE, HAVE = English("be", "is", "was", "being"), English("have", "has", "had", "having")
WANT, LIKE = English("want", "wants", "wanted", "wanting"), English("like", "likes", "liked", "liking")
VERBS = tuple(map(read_verb, rows(VERBS_TABLE)))
ADJECTIVES = tuple(map(read_adjective, rows(ADJECTIVES_TABLE)))
PREDICATIVE = tuple((adjective, adjective.verb) for adjective in ADJECTIVES if adjective.verb)
LOCATIONS = tuple((Words(row[0], row[1] + "에"), row[2], expand(row[3])) for row in rows(LOCATIONS_TABLE))
STATES = tuple((row[0], Verb(BE, *read_forms(row[1]))) for row in rows(STATES_TABLE))
WEATHER = tuple((row[1], Verb(English(*split(row[0])), *read_forms(row[2]))) for row in rows(WEATHER_TABLE))
STATIVES = tuple(verb for verb in VERBS if "state" in verb.marks)
EVENTS = tuple(verb for verb in VERBS if "event" in verb.marks)
ACTIONS = tuple(verb for verb in VERBS if verb not in STATIVES + EVENTS)
REPEATED = tuple(verb for verb in ACTIONS if not {"once", "give"} & set(verb.marks))
LASTING = tuple(verb for verb in REPEATED if verb.name in ("listen to", "drink", "wait for", "sing", "eat"))
MOTIONS = tuple(verb for verb in REPEATED if verb.name in ("go", "come"))
ASKED_ABOUT = tuple(verb for verb in REPEATED if verb.name in ASKED)
BUY = next(verb for verb in VERBS if verb.name == "buy")
BEING = next(verb for verb in VERBS if verb.name == "be")
# The countable nouns with what is done to them, and the places with what is done there.
TRANSITIVE = {
    name: [verb for verb in ACTIONS + EVENTS if name in verb.objects and verb.name not in ("become", "teach")]
    for name in NOUNS
}
USES = {name: [verb for verb in REPEATED if name in verb.places and "to" not in verb.marks] for name in NOUNS}
NUMBERS = dict(zip(NUMBER_WORDS[0::2], NUMBER_WORDS[1::2], strict=True))


def read_times(table: str, on_day: str = "", korean_on_day: str = "") -> tuple[Words, ...]:
    times = [Words(english, korean) for english, korean in rows(table)]
    if on_day:
        times += [
            Words(on_day.format(day), korean_on_day.format(ko)) for day, ko in zip(DAYS[::2], DAYS[1::2], strict=True)
        ]
    return tuple(times)


PAST = read_times(PAST_TABLE, "last {}", "지난 {}요일에")
FUTURE = read_times(FUTURE_TABLE, "next {}", "다음 주 {}요일에")
HABIT = read_times(HABIT_TABLE, "on {}s", "{}요일마다")
NOT_HABIT = read_times(NOT_HABIT_TABLE)
TRANSPORT = tuple(Words(f"by {name}", f"{ko}로", (("", name),)) for _, (name, ko) in entries(TRANSPORT_TABLE))


def held_out_pairs() -> tuple[tuple[str, str], ...]:
    """All reserved combinations, sorted: (verb or adjective or location, noun)."""
    senses = (
        [verb.name for verb in VERBS] + [adjective.name for adjective in ADJECTIVES] + [name for name, _ in WEATHER]
    )
    choices = [(verb.name, nouns) for verb in VERBS for nouns in (verb.objects, verb.places)]
    choices += [(adjective.name, of_kinds(adjective.kinds)) for adjective in ADJECTIVES]
    choices += [(name, things) for _, name, things in LOCATIONS]
    pairs = {
        (name, noun)
        for name, nouns in choices
        for noun in nouns
        if len(nouns) >= MIN_CHOICES and senses.count(name) <= 1 and name != "be"
        if zlib.crc32(f"{name} {noun}".encode()) % RESERVED_ONE_IN == 0
    }
    return tuple(sorted(pairs))


RESERVED = frozenset(held_out_pairs())

# --- Clauses. --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    english: str
    korean: str
    pronoun: str = "it"
    honored: bool = False
    plural: bool = False
    pairs: Pairs = ()

    @property
    def third_singular(self) -> bool:
        return not self.plural and self.english not in ("I", "we", "you")

    def topic(self) -> str:
        if self.english == "who":
            return "누가"
        return self.korean and (self.korean + "께서는" if self.honored else with_particle(self.korean, "은/는"))

    def agent(self) -> str:
        """As the subject of a subordinate clause."""
        if self.korean == "저":
            return "제가"
        return self.korean + "께서" if self.honored else with_particle(self.korean, "이/가")

    def again(self) -> Subject:
        """Taken up again by a pronoun, which Korean leaves out."""
        return replace(self, english=self.pronoun, korean="", pairs=())


@dataclass(frozen=True)
class Phrase:
    """A verb with what belongs to it: in English after it, in Korean before it."""

    verb: Verb
    tail: str = ""
    head: str = ""
    pairs: Pairs = ()


class NounPhrase(NamedTuple):
    english: str
    korean: str
    counted: str = ""  # after the particle: 사과를 세 개
    plural: bool = False
    pairs: Pairs = ()

    def with_particle(self, particle: str) -> str:
        return join(with_particle(self.korean, particle), self.counted)


class Mood(NamedTuple):
    tense: str = "present"
    modal: str = ""
    negative: bool = False


def join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def conjugate(verb: English, subject: Subject, tense: str, negative: bool, ask: bool) -> tuple[str, str]:
    """The auxiliary, if there must be one, and the verb."""
    no = " not" if negative else ""
    if tense == "future":
        return "will" + no, verb.base
    if verb.base == "be":
        single, plural = ("was", "were") if tense == "past" else ("is", "are")
        if subject.english == "I":
            return ("was" if tense == "past" else "am") + no, ""
        return (single if subject.third_singular else plural) + no, ""
    if negative or ask:
        return ("did" if tense == "past" else "does" if subject.third_singular else "do") + no, verb.base
    return "", verb.past if tense == "past" else verb.third if subject.third_singular else verb.base


def english_predicate(verb: English, subject: Subject, mood: Mood, ask: bool = False) -> tuple[str, str]:
    tense, modal, negative = mood
    if modal == "can":
        able, unable = ("could", "could not") if tense == "past" else ("can", "cannot")
        return unable if negative else able, verb.base
    if modal == "progressive":
        return conjugate(BE, subject, tense, negative, ask)[0], verb.ing
    if modal:
        auxiliary, main = conjugate({"want": WANT, "must": HAVE, "like": LIKE}[modal], subject, tense, negative, ask)
        return auxiliary, f"{main} to {verb.base}"
    return conjugate(verb, subject, tense, negative, ask)


def with_modal(verb: Verb, subject: Subject, modal: str, honored: bool) -> Forms:
    """The Korean verb and its auxiliary; `honored` tells whether the last of them carries the honorific."""
    base, own = verb.unmarked(subject.honored), verb.of(subject.honored)
    do, exist = (DO.honor(), EXIST.honor()) if honored else (DO, EXIST)
    match modal:
        case "progressive":
            return (STAY_HONORED if honored else EXIST).after(base.stem + "고 ")
        case "can":
            return exist.after(end_in(own.linking, "ㄹ") + " 수 ")
        case "must":
            return DO.after(own.infinitive + "야 ")
        case "want":
            speaking = subject.english in ("I", "we", "you")
            return WISH.after(base.stem + "고 ") if speaking else do.after(base.stem + "고 싶어 ")
        case "like":
            return do.after(drop_l(base.stem) + "는 것을 좋아")
        case _:
            return own if honored else base


def korean_forms(verb: Verb, subject: Subject, mood: Mood) -> Forms:
    tense, modal, negative = mood
    honored = subject.honored
    if not negative:
        return with_modal(verb, subject, modal, honored)
    for opposite in (OPPOSITES[mark] for mark in verb.marks if mark in OPPOSITES):
        if honored:
            return STAY_HONORED.modified("안") if verb.suppletive else opposite.honor()
        return opposite
    # Compounds of 하다 are not negated by a word before them.
    short = verb.korean.stem == "하" or not verb.korean.stem.endswith("하")
    if short and (modal == "can" or (modal == "" and tense == "past")):
        return verb.of(honored).modified("못" if modal else "안")
    if modal == "can":
        return (DO.honor() if honored else DO).after(verb.unmarked(honored).stem + "지 못")
    return (NOT.honor() if honored else NOT).after(with_modal(verb, subject, modal, False).stem + "지 ")


NOTHING = Words("", "")


def say(
    subject: Subject,
    phrase: Phrase,
    mood: Mood,
    time: Words = NOTHING,
    around: Words = NOTHING,
    ask: str = "",
    but: bool = False,
) -> Words:
    """A clause. `around` is an adverbial clause, `ask` a Korean question word or "?"; with `but`, Korean goes on."""
    auxiliary, main = english_predicate(phrase.verb.english, subject, mood, bool(ask))
    often, late = (time.english, "") if time.english in BEFORE_VERB else ("", time.english)
    opening = (auxiliary, subject.english) if ask else (subject.english, auxiliary)
    english = join(*opening, often, main, phrase.tail, late, around.english)
    forms = korean_forms(phrase.verb, subject, mood)
    verb = (forms.past() if mood.tense == "past" else forms).stem + "지만" if but else forms.polite(mood.tense)
    korean = join(subject.topic(), time.korean, around.korean, ask.strip("?"), phrase.head, verb)
    return Words(english, korean, subject.pairs + phrase.pairs + around.pairs)


def subordinate(relation: str, who: Subject, inner: Phrase, mood: Mood) -> Words:
    """An adverbial clause: in English at the end, in Korean early, with an ending on its verb in place of a tense."""
    if relation in ("because", "if", "when"):
        english = f"{relation} {say(who, inner, mood).english}"
        forms = korean_forms(inner.verb, replace(who, english="I"), Mood("present", mood.modal))
    else:
        english = join(relation, inner.verb.name if relation == "to" else inner.verb.english.ing, inner.tail)
        forms = inner.verb.unmarked(who.honored)
    stem, infinitive, linking = forms.stem, forms.infinitive, forms.linking
    ending = {
        "because": infinitive + "서", "if": linking + "면", "when": end_in(linking, "ㄹ") + " 때", "to": linking + "러",
        "before": stem + "기 전에", "after": end_in(linking, "ㄴ") + " 후에", "while": linking + "면서",
    }[relation]  # fmt: skip
    return Words(english, join(inner.head, ending), inner.pairs)


# --- Sentences. ------------------------------------------------------------------------------------------------------

PEOPLE = tuple(
    Subject(en, ko, again, bool(mark), again in ("they", "we")) for en, ko, again, mark in rows(PEOPLE_TABLE)
)
OTHERS = tuple(person for person in PEOPLE if person.english not in ("I", "we", "he", "she", "they"))
YOU, IT, WHO = Subject("you", "", "you"), Subject("it", ""), Subject("who", "누구")
NOW, DID, WILL = Mood(), Mood("past"), Mood("future")
NOT_NOW, DID_NOT = Mood("present", "", True), Mood("past", "", True)
DOING, WANTS, MUST = Mood("present", "progressive"), Mood("present", "want"), Mood("present", "must")
CAN, CANNOT, COULD_NOT = Mood("present", "can"), Mood("present", "can", True), Mood("past", "can", True)
MOODS = (
    *(NOW, NOW, NOW, DID, DID, DID, DID, DID, WILL, WILL, DOING, WANTS, MUST, CAN, Mood("past", "want")),
    *(Mood("past", "must"), Mood("present", "like"), NOT_NOW, DID_NOT, CANNOT, COULD_NOT, Mood("future", "", True)),
)
FEELINGS = tuple(name for name, _ in STATES)
HINDRANCES = STATES[:6]
STATE_MOODS = (NOW, NOW, NOW, NOT_NOW, DID, DID_NOT)


class Pair(NamedTuple):
    source: str
    target: str


class Sentence(NamedTuple):
    pair: Pair
    pairs: Pairs


def finish(words: Words, mark: str = ".") -> Sentence:
    english, korean, pairs = words
    return Sentence(Pair(english[0].upper() + english[1:] + mark, korean + mark), pairs)


def profession(name: str, subject: Subject, mood: Mood) -> Phrase:
    """To be a doctor: the copula, or 아니다."""
    noun = NOUNS[name]
    english = noun.bare if subject.plural else article(name)
    tense = "어" if mood.tense == "past" else "에"
    if mood.negative:
        verb = Verb(BE, Forms("아니", "아니" + tense, "아니"), marks=("아니" + tense,))
        return Phrase(verb, english, with_particle(noun.korean, "이/가"), (("", name),))
    stem = with_particle(noun.korean, "이/")
    infinitive = with_particle(noun.korean, "이어/여" if tense == "어" else "이에/예")
    return Phrase(Verb(BE, Forms(stem, infinitive, stem)), english, "", (("", name),))


def article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeio" or phrase.startswith("umb") else "a ") + phrase


class Composer:
    """Makes up sentences; each method makes one kind of part or of sentence."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.pick = random.choice

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def noun_phrase(self, name: str, choices: str) -> NounPhrase:
        """One of `choices`: a, p(lural), d (the), t(his), T (that), m(y), n(umber), j (adjective), r(elative clause)."""
        noun, choice = NOUNS[name], self.pick(choices)
        one, several = (noun.single, False) if noun.countable else (noun.bare, noun.plural)
        if noun.kind in "xsl":
            return NounPhrase(noun.bare, noun.korean, pairs=(("", name),))
        if choice == "j" and (adjectives := [adjective for adjective in ADJECTIVES if noun.kind in adjective.kinds]):
            adjective = self.pick(adjectives)
            english = f"{adjective.name} {one}"
            korean = f"{adjective.attributive} {noun.korean}"
            pairs: Pairs = ((adjective.name, name),)
            return NounPhrase(article(english) if noun.countable else english, korean, "", several, pairs)
        if choice == "r" and noun.countable and TRANSITIVE[name]:
            verb, agent, time = self.pick(TRANSITIVE[name]), self.pick(PEOPLE), self.pick((NOTHING, *PAST))
            english = join(f"the {one} that", agent.english, verb.english.past, time.english)
            korean = join(agent.agent(), time.korean, end_in(verb.of(agent.honored).linking, "ㄴ"), noun.korean)
            return NounPhrase(english, korean, "", False, ((verb.name, name),))
        if choice == "n" and noun.counter:
            count = self.pick(NUMBER_WORDS[2 * noun.countable : 20 if noun.kind in "rfctwbg" else 8 : 2])
            english = article(noun.single) if count == "one" else f"{count} {noun.many}"
            return NounPhrase(english, noun.korean, f"{NUMBERS[count]} {noun.counter}", count != "one", (("", name),))
        determiners = {"t": ("these" if several else "this", "이 "), "T": ("those" if several else "that", "그 ")}
        determiner, korean = (determiners | {"d": ("the", ""), "m": ("my", "제 ")}).get(choice, ("", ""))
        if not determiner and noun.countable and choice != "p":
            return NounPhrase(article(one), noun.korean, pairs=(("", name),))
        english = f"{determiner} {one}" if determiner else noun.bare
        return NounPhrase(english, korean + noun.korean, "", several or (noun.plural and not determiner), (("", name),))

    def thing(self, name: str, choices: str) -> Subject:
        english, korean, _, plural, pairs = self.noun_phrase(name, choices)
        return Subject(english, korean, "they" if plural else "it", False, plural, pairs)

    def object_of(self, verb: Verb, counted: bool) -> Words:
        name = self.pick(verb.objects)
        choices = {"become": "a", "like": "pppt", "hate": "pppt"}.get(verb.name, "")
        if not choices:
            choices = ("dddtT" if "the" in verb.marks else "aaapptjj") + ("m" if NOUNS[name].kind in "wtuc" else "")
            choices += "nn" * counted
        words = self.noun_phrase(name, choices)
        korean = words.with_particle("이/가" if "이" in verb.marks else "을/를")
        return Words(words.english, korean, ((verb.name, name), *words.pairs))

    def place_of(self, verb: Verb, place: str) -> Words:
        noun, motion = NOUNS[place], "to" in verb.marks
        english = f"{'to' if motion else PREPOSITIONS[place]} {noun.bare}"
        if place == "home":
            english = "home" if motion else "at home"
        if "으로" in verb.marks:
            return Words(english, with_particle(noun.korean, "으로/로"), ((verb.name, place),))
        return Words(english, noun.korean + ("에" if "에" in verb.marks else "에서"), ((verb.name, place),))

    def phrase(self, verb: Verb, counted: bool = False, asked: Words = NOTHING) -> Phrase:
        """A verb with its object or place or both, and means of travel; `asked` stands in for the object."""
        parts: list[Words] = [asked]
        if verb.objects and not asked.korean:
            parts = [self.object_of(verb, counted)]
        if verb.places and (not verb.objects or self.chance(0.3)):
            parts.append(self.place_of(verb, self.pick(verb.places)))
        if verb in MOTIONS and self.chance(0.25):
            parts.append(self.pick(TRANSPORT))
        tail, head = [part.english for part in parts], [part.korean for part in reversed(parts)]
        pairs: Pairs = ((verb.name, ""), *(pair for part in parts for pair in part.pairs))
        return Phrase(verb, join(*tail), join(*head), pairs)

    def activity(self, subject: Subject, mood: Mood) -> Phrase:
        """What somebody does, now and then with or for somebody else."""
        lasting = mood in (NOW, NOT_NOW) or mood.modal in ("progressive", "can", "like")
        verb = self.pick(REPEATED if lasting else ACTIONS + EVENTS if mood == DID else ACTIONS)
        phrase = self.phrase(verb, counted=not mood.negative)
        other = self.pick([person for person in OTHERS if person != subject])
        if "give" in verb.marks:
            head = f"{other.korean}{'께' if other.honored else '에게'} {phrase.head}"
            verb = replace(verb, korean=read_forms(HUMBLE[verb.name])[0]) if other.honored else verb
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
            return self.pick(HABIT) if self.chance(0.8) else self.clock_time()
        if mood == NOT_NOW:
            return self.pick(NOT_HABIT)
        if mood == DOING:
            return self.pick((NOTHING, Words("now", "지금")))
        if (mood.modal in ("can", "like") and mood.tense == "present") or self.chance(0.4):
            return NOTHING
        if self.chance(0.1):
            month, day = self.random.randint(1, 12), self.random.randint(1, 28)
            return Words(f"on {MONTHS[month - 1]} {day}", f"{month}월 {day}일에")
        return self.pick(PAST if mood.tense == "past" else FUTURE)

    def clock_time(self) -> Words:
        hour, minute, word = (
            self.random.randint(1, 12),
            self.pick((10, 15, 20, 30, 40, 50)),
            self.pick(NUMBER_WORDS[:24:2]),
        )
        said = (
            Words(f"at {hour}:{minute}", f"{hour}시 {minute}분에"),
            Words(f"at {word} o'clock", f"{NUMBERS[word]} 시에"),
            Words(f"at half past {word}", f"{NUMBERS[word]} 시 반에"),
            Words(f"at {word} in the morning", f"오전 {NUMBERS[word]} 시에"),
            Words(f"at {word} in the afternoon", f"오후 {NUMBERS[word]} 시에"),
        )
        return self.pick(said)

    def around(self, subject: Subject, phrase: Phrase, mood: Mood) -> Words:
        """A clause around the main one: why not, for what, if, when, before, after or during what."""
        again = subject.again()
        tense = "past" if mood.tense == "past" else "present"
        if mood.negative:
            inner = self.condition(HINDRANCES + WEATHER)
            # It is raining, not: it rains.
            cause = Mood(tense, "" if inner.verb.english == BE else "progressive")
            return subordinate("because", again if inner.tail in FEELINGS else IT, inner, cause)
        if phrase.verb in MOTIONS and (verbs := USES[phrase.pairs[1][1]]):
            inner = self.phrase(replace(self.pick(verbs), places=()), counted=True)
            inner = replace(inner, pairs=(*inner.pairs, (inner.verb.name, phrase.pairs[1][1])))
            if mood in (DID, WILL) and self.chance(0.5):
                return subordinate("because", again, inner, Mood(tense, self.pick(("want", "must"))))
            return subordinate("to", again, inner, NOW)
        if mood == WILL:
            inner = self.condition(STATES + WEATHER)
            return subordinate("if", again if inner.tail in FEELINGS else IT, inner, NOW)
        if mood == NOW and self.chance(0.3):
            return subordinate("when", again, self.condition(STATES), NOW)
        relation = self.pick(("before", "after", "while"))
        verb = self.pick(
            [verb for verb in (LASTING if relation == "while" else REPEATED) if verb.name != phrase.verb.name]
        )
        return subordinate(relation, again, self.phrase(verb, counted=True), NOW)

    def clause(self, subject: Subject, mood: Mood, ask: str = "") -> Words:
        phrase = self.activity(subject, mood)
        around = self.around(subject, phrase, mood) if self.chance(0.4) else NOTHING
        time = NOTHING if around.english.startswith(("if", "when")) else self.time(mood)
        if around.english.startswith(("if", "when", "because", "after")) and not ask and self.chance(0.4):
            main = say(subject, phrase, mood, time, around._replace(english=""))
            return main._replace(english=f"{around.english}, {main.english}")
        return say(subject, phrase, mood, time, around, ask)

    def statement(self) -> Sentence:
        return finish(self.clause(self.pick(PEOPLE), self.pick(MOODS)))

    def question(self) -> Sentence:
        subject, mood = self.pick((YOU, self.pick(PEOPLE))), self.pick([mood for mood in MOODS if not mood.negative])
        return finish(self.clause(subject, mood, "?"), "?")

    def word_question(self) -> Sentence:
        subject, mood = self.pick((YOU, *PEOPLE)), self.pick((DID, DID, WILL, NOW, WANTS, MUST))
        word, time = self.pick(("who", "what", "what", "how many", "where", "when", "why")), self.time(mood)
        if word == "who":
            return finish(say(WHO, self.activity(WHO, mood), mood, time), "?")
        verb, asked, ask = self.pick(REPEATED), NOTHING, {"when": "언제", "why": "왜"}.get(word, "?")
        if word == "when":
            mood, time = self.pick((DID, WILL, MUST)), NOTHING
        elif word == "where":
            verb = self.pick([verb for verb in REPEATED if verb.places and "으로" not in verb.marks])
            verb, ask = replace(verb, places=()), "어디에" if "에" in verb.marks else "어디에서"
        elif word == "what":
            verb = self.pick(ASKED_ABOUT)
            person = NOUNS[verb.objects[0]].kind == "p"
            word, asked = ("who", Words("", "누구를")) if person else (word, Words("", "무엇을"))
        elif word == "how many":
            verb = self.pick([verb for verb in ASKED_ABOUT if any(NOUNS[name].countable for name in verb.objects)])
            noun = self.pick([NOUNS[name] for name in verb.objects if NOUNS[name].countable])
            korean = f"{with_particle(noun.korean, '을/를')} 몇 {noun.counter}"
            word, asked = f"how many {noun.many}", Words("", korean, ((verb.name, noun.name),))
        words = say(subject, self.phrase(verb, asked=asked), mood, time, ask=ask)
        return finish(words._replace(english=f"{word} {words.english}"), "?")

    def request(self) -> Sentence:
        verb, kind = self.pick(REPEATED), self.pick(("please", "please", "please do not", "let's", "shall we", "may I"))
        phrase = self.phrase(verb, counted=kind != "please do not")
        stem, infinitive, linking = verb.korean.stem, verb.korean.infinitive, verb.korean.linking
        korean = {
            "please": infinitive + " 주세요" if "please" in verb.marks else verb.of(True).polite(),
            "please do not": stem + "지 마세요", "let's": infinitive + "요",
            "shall we": end_in(linking, "ㄹ") + "까요", "may I": infinitive + "도 돼요",
        }[kind]  # fmt: skip
        together = "우리 같이" if kind in ("let's", "shall we") else ""
        english = join(kind, verb.name, phrase.tail, "together" if together else "")
        mark = "?" if kind in ("shall we", "may I") else "."
        return finish(Words(english, join(together, phrase.head, korean), phrase.pairs), mark)

    def state(self) -> Sentence:
        """How somebody is, what somebody is, likes, has, knows."""
        subject, mood, time = self.pick(PEOPLE), self.pick(STATE_MOODS), NOTHING
        asks = not mood.negative and self.chance(0.3)
        phrase = self.phrase(self.pick(STATIVES), counted=not mood.negative)
        choice = self.random.random()
        if choice < 0.3:
            phrase = self.condition(STATES)
            time = self.pick((NOTHING, NOT_HABIT[0], Words("today", "오늘")) if mood.tense == "present" else PAST)
        elif choice < 0.5 and subject in OTHERS:
            phrase = profession(self.pick(of_kinds("p")), subject, mood)
        return finish(say(subject, phrase, mood, time, ask="?" if asks else ""), "?" if asks else ".")

    def description(self) -> Sentence:
        adjective, verb = self.pick(PREDICATIVE)
        name, mood, asks = self.pick(of_kinds(adjective.kinds)), self.pick((NOW, NOW, NOT_NOW, DID)), self.chance(0.25)
        thing = self.thing(name, "dttTTr" + "m" * (NOUNS[name].kind in "tuwc"))
        phrase = Phrase(verb, adjective.name, "", ((adjective.name, name),))
        if self.chance(0.5):
            other = self.pick([noun for noun in of_kinds(NOUNS[name].kind) if noun != name])
            choices, mood = "p" if NOUNS[name].kind in "rf" else "d", NOW
            thing, than = self.thing(name, choices), self.noun_phrase(other, choices)
            verb = replace(verb, korean=verb.korean.modified("더"))
            english, pairs = f"{adjective.comparative} than {than.english}", (*phrase.pairs, (adjective.name, other))
            phrase = Phrase(verb, english, f"{than.korean}보다", pairs)
        ask = "?" if asks and not mood.negative else ""
        return finish(say(thing, phrase, mood, ask=ask), ask or ".")

    def existence(self) -> Sentence:
        where, location, things = self.pick(LOCATIONS)
        name, kind, past = self.pick(things), self.pick(("some", "some", "no", "any", "it")), self.chance(0.3)
        if kind == "it":
            thing = self.thing(name, "dtT")
            return finish(say(thing, Phrase(BEING, where.english, where.korean, ((location, name),)), DID if past else NOW))
        some = self.noun_phrase(name, "ajnnn" if kind == "some" else "p")
        be = ("were" if past else "are") if some.plural else ("was" if past else "is")
        said = {"some": f"there {be}", "no": f"there {be} no", "any": f"{be} there any"}[kind]
        exists = (OPPOSITES["없"] if kind == "no" else EXIST).polite("past" if past else "present")
        korean = join(where.korean, some.with_particle("이/가"), exists)
        words = Words(join(said, some.english, where.english), korean, (*some.pairs, (location, name)))
        return finish(words, "?" if kind == "any" else ".")

    def price(self) -> Sentence:
        name, thousands, hundreds = (
            self.pick(of_kinds("wtuc")),
            self.random.randrange(10),
            self.random.randint(2, 99) * 500,
        )
        thing = self.thing(name, "tTd")
        won = Words(f"{NUMBER_WORDS[2 * thousands]} thousand won", f"{THOUSANDS[thousands]} 원")
        if self.chance(0.6):
            won = Words(f"{hundreds:,} won", f"{hundreds:,}원")
        if self.chance(0.3):
            bought = f"{with_particle(thing.korean, '을/를')} {won.korean}에"
            phrase = Phrase(BUY, f"{thing.english} for {won.english}", bought, (("buy", name),))
            return finish(say(self.pick(PEOPLE), phrase, DID, self.time(DID)))
        be, asks = "are" if thing.plural else "is", self.chance(0.3)
        if asks:
            return finish(Words(f"how much {be} {thing.english}", f"{thing.topic()} 얼마예요", thing.pairs), "?")
        return finish(Words(f"{thing.english} {be} {won.english}", f"{thing.topic()} {won.korean}이에요", thing.pairs))

    def relative(self) -> Sentence:
        verb = self.pick([verb for verb in REPEATED if any(NOUNS[name].countable for name in verb.objects)])
        name = self.pick([name for name in verb.objects if NOUNS[name].countable])
        thing = self.noun_phrase(name, "r")
        phrase = Phrase(verb, thing.english, with_particle(thing.korean, "을/를"), ((verb.name, name), *thing.pairs))
        return finish(say(self.pick(PEOPLE), phrase, self.pick((DID, DID, DID_NOT, WILL, WANTS, MUST))))

    def sequence(self) -> Sentence:
        """One thing and then another: in Korean, the first verb has no tense."""
        subject, mood = self.pick(PEOPLE), self.pick((DID, DID, WILL, NOW, MUST))
        first, second = (self.phrase(self.pick(REPEATED), counted=True) for _ in range(2))
        then = english_predicate(second.verb.english, subject, mood)[1].removeprefix("has to ").removeprefix("have to ")
        before = Words("", join(first.head, first.verb.unmarked(subject.honored).stem + "고"), first.pairs)
        time = (
            self.pick([time for time in HABIT if time.english not in BEFORE_VERB]) if mood == NOW else self.time(mood)
        )
        korean = say(subject, second, mood, time, before)
        english = join(say(subject, first, mood).english, "and then", then, second.tail, time.english)
        return finish(Words(english, korean.korean, (*first.pairs, *korean.pairs)))

    def contrast(self) -> Sentence:
        """One person and another, or a wish and what is in its way."""
        one, other = self.random.sample(OTHERS, 2)
        kind = self.pick(("did", "can", "like", "want"))
        if kind == "like":
            liked, disliked = (self.phrase(self.pick(STATIVES[:2])) for _ in range(2))
            first, second = say(one, liked, NOW, but=True), say(other, disliked, NOW)
        elif kind == "want":
            one = self.pick(PEOPLE)
            wish = self.phrase(self.pick(REPEATED))
            first = say(one, wish, Mood("past", "want"), but=True)
            second = say(one.again(), self.condition(HINDRANCES), DID)
        else:
            mood, unable = (DID, DID_NOT) if kind == "did" else (CAN, CANNOT)
            phrase = self.phrase(self.pick(REPEATED))
            first = say(one, phrase, mood, but=True)
            denied = say(other, Phrase(phrase.verb), unable)
            english = f"{other.english} {'did not' if kind == 'did' else 'cannot'}"
            second = denied._replace(english=english)
        pairs = first.pairs + second.pairs
        return finish(Words(f"{first.english}, but {second.english}", f"{first.korean} {second.korean}", pairs))


# --- The corpus. -----------------------------------------------------------------------------------------------------

KINDS = (
    (Composer.statement, 32), (Composer.question, 8), (Composer.word_question, 8), (Composer.request, 7),
    (Composer.state, 9), (Composer.description, 9), (Composer.existence, 6), (Composer.price, 4),
    (Composer.relative, 4), (Composer.sequence, 6), (Composer.contrast, 6),
)  # fmt: skip


@dataclass(frozen=True)
class Phrasebook:
    train: tuple[Pair, ...]
    valid: tuple[Pair, ...]
    test: tuple[Pair, ...]


def makes_reserved(made: Sentence) -> bool:
    return any(pair in RESERVED for pair in made.pairs)


def contains_reserved(made: Sentence) -> bool:
    """Whether both words of a reserved combination stand anywhere in the sentence."""
    names = [name for pair in made.pairs for name in pair if name]
    return any((one, other) in RESERVED for one in names for other in names)


def compose(seed: int) -> Iterator[Sentence]:
    """Different sentences without end."""
    random = Random(seed)
    composer = Composer(random)
    methods, weights = [method for method, _ in KINDS], [weight for _, weight in KINDS]
    translations: dict[str, str] = {}
    while True:
        made = random.choices(methods, weights)[0](composer)
        source, target = made.pair
        if source not in translations and not any(source.count(person.english) > 1 for person in OTHERS):
            translations[source] = target
            yield made
        assert translations.get(source, target) == target, f"{source!r}: {translations[source]!r} and {target!r}"


def tokens(text: str) -> list[str]:
    return [word.strip(".,?") for word in text.lower().split()]


def generate(seed: int, pairs: int) -> Phrasebook:
    """The corpus of a seed, with so many pairs for training."""
    if pairs < MIN_PAIRS:
        raise ValueError(f"a phrasebook needs at least {MIN_PAIRS} pairs, for all its words to be in it: {pairs}")
    sentences = compose(seed)
    train = list(islice((made.pair for made in sentences if not contains_reserved(made)), pairs))
    english = Counter(word for pair in train for word in tokens(pair.source))
    korean = Counter(word for pair in train for word in tokens(pair.target))

    def familiar(pair: Pair) -> bool:
        known = all(english[word] >= MIN_COUNT for word in tokens(pair.source))
        return known and all(korean[word] >= MIN_COUNT for word in tokens(pair.target))

    unseen = (made.pair for made in sentences if makes_reserved(made) and familiar(made.pair))
    size = pairs // HELD_OUT_SHARE
    return Phrasebook(tuple(train), tuple(islice(unseen, size)), tuple(islice(unseen, size)))


def write(phrasebook: Phrasebook, directory: Path) -> None:
    """Write the six files, each first under another name: whoever finds a file finds all of it."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, pairs in (("train", phrasebook.train), ("valid", phrasebook.valid), ("test", phrasebook.test)):
        for language, lines in (("en", [pair.source for pair in pairs]), ("ko", [pair.target for pair in pairs])):
            path = directory / f"{name}.{language}"
            partial = path.with_name(f"{path.name}.partial")
            partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
            os.replace(partial, path)


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
    print(f"{options.directory}: {train} training, {valid} validation and {test} test pairs, seed {options.seed}")


if __name__ == "__main__":
    main()
