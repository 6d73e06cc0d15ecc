"""The words and sentence templates of the demo model: podcast and meeting English.

In: nothing. Out: ``SLOTS`` (what may stand in a template's ``{slot}``) and ``TEMPLATES``.
Does not know: how sentences are drawn from them.
"""

_WORDS = {
    "name": (
        "Sarah|Daniel|Maria|James|Anna|David|Emma|Tom|Laura|Peter|Julia|Mark|Helen|Paul|Alice|"
        "Kevin|Robert|Sophie|George|Linda|Oliver|Grace|Henry|Lucy|Simon|Rachel|Adam|Karen|Victor|"
        "Diana"
    ),
    "place": (
        "London|Paris|Berlin|Boston|Chicago|Toronto|Madrid|Rome|Dublin|Sydney|Tokyo|Vienna|"
        "Canada|Ireland|Spain|Italy|Germany|France|Japan|India|Brazil|Scotland|Mexico|Texas"
    ),
    "month": (
        "January|February|March|April|May|June|July|August|September|October|November|December"
    ),
    "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
    "num": (
        "3|5|6|7|8|9|10|11|12|13|14|15|16|17|18|19|20|21|22|23|24|25|26|28|30|32|35|36|40|42|45|"
        "48|50|53|57|60|64|70|75|80|86|90|99"
    ),
    "hour": "3|5|6|7|8|9|10|11|12",
    "dig": "3|5|6|7|8|9|10",
    "big": "100|200|300|500",
    "unit": "days|weeks|months|years|hours|minutes",
    "oneunit": "day|week|month|year|hour|minute",
    "period": "morning|afternoon|evening",
    "topic": (
        "history|science|music|travel|education|sport|cooking|politics|technology|the economy|"
        "space|sleep|memory|design|security|privacy|language|energy|public health|modern art|"
        "the climate|the law|business|nature|family life|food|culture|the ocean|the internet|"
        "old movies"
    ),
    "work": (
        "the budget|the website|the project|the release|the survey|the report|the contract|"
        "the schedule|the new office|the database|the design|the test plan|the market|"
        "the customer list|the software|the training course|the interview|the next version|"
        "the road map|the press release"
    ),
    "thing": (
        "book|story|song|film|paper|letter|picture|map|camera|phone|computer|car|house|garden|"
        "bridge|train|table|window|door|box|bag|clock|radio|machine|boat|plane|bicycle|guitar|"
        "piano|newspaper"
    ),
    "spot": (
        "the park|the library|the museum|the station|the airport|the office|the kitchen|"
        "the school|the hospital|the hotel|the market|the river|the beach|the city|the village|"
        "the mountain|the studio|the garden|the theater|the bank"
    ),
    "people": (
        "students|teachers|doctors|workers|children|parents|friends|players|artists|engineers|"
        "scientists|customers|writers|drivers|farmers|listeners|guests|visitors|managers|experts"
    ),
    "job": (
        "doctor|teacher|writer|lawyer|nurse|pilot|farmer|singer|chef|engineer|scientist|manager|"
        "painter|driver|student|designer"
    ),
    "adj": (
        "interesting|difficult|important|strange|simple|expensive|useful|beautiful|quiet|busy|"
        "funny|serious|dangerous|exciting|boring|amazing|terrible|perfect|popular|famous|helpful|"
        "easy|hard|good|great"
    ),
    "feel": (
        "happy|sad|tired|excited|nervous|proud|surprised|worried|lucky|ready|grateful|confused|"
        "hungry|angry"
    ),
    "color": "red|blue|green|black|white|yellow|brown|gray",
    "size": "big|small|huge|tiny|long|short|old|new|heavy|little",
    "kin": (
        "mother|father|brother|sister|son|daughter|uncle|aunt|grandmother|neighbor|boss|teacher|"
        "friend|cousin"
    ),
    "verb": "read|write|travel|cook|swim|sing|paint|dance|learn|teach|work|play|sleep|run|drive",
    "eat": (
        "bread|cheese|soup|rice|fish|fruit|cake|coffee|tea|chicken|chocolate|salad|pizza|milk|"
        "breakfast"
    ),
    "wx": "sunny|cloudy|windy|cold|warm|hot|wet|dry|rainy|foggy",
    "freq": "always|often|usually|sometimes|never|rarely",
    "adv": "slowly|quickly|carefully|quietly|together|alone|every day|again|a lot",
    "when": "yesterday|last week|last month|last year|this week|this year|today|a long time ago",
    "later": "tomorrow|next week|next month|next year|tonight|soon|later today",
    "subj": "I|We|They|You",
    "obj": "me|us|them|him|her|you",
    "he": "He|She",
    "poss": "my|your|our|their|his|her",
    "lead": (
        "And|But|So|Well,|Now,|Okay,|Yes,|Actually,|Of course,|You know,|In fact,|Honestly,|Look,"
    ),
    "say": "think|believe|hope|know|guess|feel",
    "quant": "most|many|some|all|few",
}
SLOTS = {slot: tuple(words.split("|")) for slot, words in _WORDS.items()}

TEMPLATES = tuple(
    """
Hello everyone and welcome to the show.
Hello and welcome back to another episode about {topic}.
Good {period}, everyone, my name is {name}.
Good {period}, {name}, how are you?
Hi, I'm {name} and this is a podcast about {topic}.
My guest today is {name}, a {job} from {place}.
With me in the studio is {name}, who is a {job}.
Today we are talking about {topic} and {topic}.
Today we are going to talk about {topic}.
Thank you so much for joining us, {name}.
Thanks for having me, {name}, it's great to be here.
Thank you for listening, and see you next {day}.
That's all for today, see you next week.
Please join us again on {day} at {hour} o'clock.
Let's start with {topic}.
Let's move on to {work}.
Let's talk about {work} for a few minutes.
The next item is {work}.
The first question is about {work}.
The meeting starts at {hour} o'clock on {day}.
The meeting on {day} is at {hour} in the {period}.
We have {num} {unit} to finish {work}.
We need about {num} more {unit} for {work}.
{name} will send {work} by {day}.
{name}, can you send {work} to {name} by {day}?
{name}, could you tell us more about {topic}?
{name}, what do you think about {work}?
What do you think about {topic}?
What did you learn about {topic} in {place}?
How did you become a {job}?
How long did you live in {place}?
How many {people} came to {spot}?
How much does the {color} {thing} cost?
When did you move to {place}?
When will {work} be ready?
Where did you find that {size} {thing}?
Why is {topic} so {adj}?
Why do {quant} {people} like {topic}?
Who is going to pay for {work}?
Do you {freq} {verb} in the {period}?
Did you see the {color} {thing} near {spot}?
Can you hear me, {name}?
Are you {feel} about {work}?
Is it true that {people} {freq} {verb}?
I was born in {place} in {month}.
I moved from {place} to {place} {num} years ago.
I have lived in {place} for {num} years.
I started as a {job} {num} years ago.
I worked with {num} {people} in {place}.
I {say} that {topic} is very {adj}.
I {say} {work} is too {adj}.
I don't {say} it is {adj}.
I was really {feel} when I saw {spot}.
I am so {feel} that you came.
I bought a {size} {color} {thing} {when}.
I lost {poss} {thing} at {spot}.
I gave {obj} a {thing} for {poss} birthday.
I {freq} eat {eat} in the {period}.
I would like some {eat} and {eat}, please.
I want to {verb} and {verb} more this year.
I agree with {name} about {topic}.
I'm not sure about that, {name}.
I can't remember the name of that {thing}.
I'll call you {later}.
{subj} {freq} {verb} {adv}.
{subj} {freq} {verb} with {poss} {kin}.
{subj} went to {spot} with {poss} {kin} {when}.
{subj} saw {num} {people} at {spot} {when}.
{subj} will go to {place} in {month}.
{subj} want to {verb} in {place} {later}.
{subj} found an old {thing} in {spot}.
{he} told {obj} a {adj} story about {place}.
{he} is a very good {job}.
{he} was {feel} because the {thing} was {size}.
{he} works at {spot} from {day} to {day}.
{he} made {eat} for {num} {people}.
{he} has a {size} {thing} and {dig} children.
My {kin} is a {job} in {place}.
My {kin} {freq} drinks {eat} at {hour} in the {period}.
My {kin} lives near {spot} in {place}.
Our {kin} was {feel} about the {color} {thing}.
{quant} {people} {say} that {topic} is {adj}.
{quant} of the {people} in {place} like {eat}.
About {num} percent of {people} {verb} {adv}.
More than {big} {people} answered the survey.
We asked {big} {people} about {topic}.
It took {num} {unit} to build the {thing}.
It costs {num} dollars a {oneunit}.
It was a {wx} {period} in {month}.
It is {wx} and {wx} in {place} today.
It will be {wx} {later}.
The weather in {place} is {freq} {wx} in {month}.
The {thing} is on the {color} table.
The {size} {thing} was under the {thing}.
The {color} {thing} is very {adj}.
The {people} went to {spot} {adv}.
The {job} came to {spot} at {hour} o'clock.
The price went up by {num} percent {when}.
The train to {place} leaves in {num} minutes.
The problem with {work} is the price.
The best thing about {place} is the {eat}.
There are {num} {people} in {spot}.
There is a {size} {color} {thing} near {spot}.
There was nothing {adj} about {work}.
{lead} that was {adj}.
{lead} I {say} so.
{lead} that's a {adj} question.
{lead} it is not that {adj}.
{lead} we can talk about it {later}.
{lead} {name} is {feel} about {work}.
{lead} you should {verb} {adv}.
{lead} we {freq} {verb} in {month}.
{lead} {topic} is {adj} and {adj}.
{lead} let's ask {name} about {topic}.
Yes, exactly.
No, not at all.
That's right.
Thank you very much.
Good question.
I see.
Me too.
Of course.
That makes sense.
Wait a minute, {name}.
Really, {name}?
Sounds {adj} to me.
This is {name} from {place}.
This {thing} is {adj}, but that one is {adj}.
This year we have {num} new {people}.
On {day} we {freq} {verb} at {spot}.
On {month} {dig} we will open {spot}.
In {month} {name} went to {place} by {thing}.
In the {period} {quant} {people} {verb} {adv}.
In {place} {topic} is very popular.
First, we need to check {work}.
Second, we should ask the {people}.
Finally, {name} will talk about {work}.
If it is {wx}, we will {verb} at {spot}.
If you like {topic}, you should visit {place}.
When I was {num}, I wanted to be a {job}.
When {name} was a {job}, life was {adj}.
Before we finish, are there any more questions?
Before that, {name} was a {job} in {place}.
After {num} {unit}, {work} was ready.
After the break we will talk about {topic}.
Maybe we can meet on {day} in {spot}.
Please send your questions about {topic} to {name}.
Please close the {thing} and open the {thing}.
You can find the {thing} at {spot}.
Don't forget to bring {poss} {thing} {later}.
Nobody knows why the {thing} is {color}.
Everybody was {feel} after the {thing} broke.
""".strip().splitlines()
)
