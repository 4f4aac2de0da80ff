"""The phrasebook's word lists: one entry per line, fields separated by "|", words by spaces; "_" is a space."""

from __future__ import annotations

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
