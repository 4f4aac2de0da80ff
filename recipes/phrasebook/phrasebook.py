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
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

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
send sends sent sending|보내 보내 보내|letter email package gift photo postcard|post_office office airport|please
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
know knows knew knowing|알 알아 알|+p||state
need needs needed needing|필요하 필요해 필요하|+c +t +u money time||state 이
have has had having|있 있어 있으|+t +u +c +a +k book money time||state 이 없
live lives lived living|살 살아 살||Seoul Busan Daejeon Tokyo Paris London Vietnam|state 에
be is was being|있 있어 있으 계시||library school park hospital office home station cafe gym|state 에 없 안_계시
"""
GIVING_TABLE = """
give gives gave giving|주 줘 주|gift flower book cake hat apple doll ticket chocolate notebook||
show shows showed showing|보여주 보여줘 보여주|photo map letter book ring ticket camera||
send sends sent sending|보내 보내 보내|letter email package gift photo postcard||
"""
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
STATES_TABLE = """
tired|피곤하 피곤해 피곤하; busy|바쁘 바빠 바쁘; sick|아프 아파 아프 편찮으시; hungry|배가_고프 배가_고파 배가_고프
thirsty|목이_마르 목이_말라 목이_마르; happy|행복하 행복해 행복하; sad|슬프 슬퍼 슬프; sleepy|졸리 졸려 졸리
bored|심심하 심심해 심심하; healthy|건강하 건강해 건강하
"""
HINDRANCES = ("tired", "busy", "sick", "hungry", "sad", "sleepy")
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
DAYS = "Monday 월 Tuesday 화 Wednesday 수 Thursday 목 Friday 금 Saturday 토 Sunday 일"
PAST_TABLE = """
yesterday|어제; last night|어젯밤에; this morning|오늘 아침에; last week|지난주에; last weekend|지난 주말에; last month|지난달에
last year|작년에; two days ago|이틀 전에; an hour ago|한 시간 전에; three weeks ago|삼 주 전에; yesterday evening|어제저녁에
"""
FUTURE_TABLE = """
tomorrow|내일; tonight|오늘 밤에; next week|다음 주에; next month|다음 달에; next year|내년에; this weekend|이번 주말에
tomorrow morning|내일 아침에; this afternoon|오늘 오후에; in two days|이틀 후에; in an hour|한 시간 후에
"""
HABIT_TABLE = """
every day|매일; every morning|매일 아침; every evening|매일 저녁; every week|매주; on weekends|주말마다; often|자주; usually|보통
always|항상; sometimes|가끔; these days|요즘
"""
BEFORE_VERB = ("often", "usually", "always", "sometimes")
MONTHS = "January February March April May June July August September October November December".split()
NUMBER_WORDS = (
    "one 한 일 two 두 이 three 세 삼 four 네 사 five 다섯 오 six 여섯 육 seven 일곱 칠 eight 여덟 팔 nine 아홉 구 ten 열 십 "
    "eleven 열한 십일 twelve 열두 십이 twenty 스무 이십 thirty 서른 삼십 forty 마흔 사십 fifty 쉰 오십"
).split()
ENGLISH_NUMBERS, NATIVE_NUMBERS, SINO_NUMBERS = NUMBER_WORDS[0::3], NUMBER_WORDS[1::3], NUMBER_WORDS[2::3]
