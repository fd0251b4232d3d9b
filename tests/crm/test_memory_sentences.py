"""What customers say of everything else is never taken for a wish to the memory; what is meant for it is."""
from __future__ import annotations

import pytest

from crm_store.rules.memory import is_about, wish_in

SAYS_SOMETHING_ELSE = """
我的订单到哪里了
我要退货，麻烦记一下
订单号WL20261115001，麻烦记一下
我电话13800138000，记一下
好的，记住了
对你们的服务过敏，麻烦记一下
Call me when my parcel arrives, please remember
my order is late, please note that
快递怎么还没到
忘了带小票还能退吗
忘了带小票
忘了填发票抬头
忘了用优惠券了
忘记用积分了
忘记签收时间了
忘了我的会员号
忘了手机号是哪个了
忘记登录邮箱了
忘了我买的是哪个
忘了我付款没有
忘了取件码
忘记密码怎么办
删掉我的评论
删掉我的个人信息
删掉我的数据
删掉我的手机号
删掉所有数据
删掉购物车里的东西
删掉全部聊天记录
忘掉我的个人资料
忘记我的全部信息
不要记在我的账上
别记错了门牌号
不用记账
别再记我的电话了
忘了说了，我要退货
忘了它吧，我的快递呢
忘了问，运费谁出
忘了吧台凳是什么颜色
有没有简单点的退货办法
包装简单一点就行
我要简单一点的款式
有没有更直接一点的路线
别啰嗦了，快告诉我订单到哪了
少废话，赶紧退款
少废话转人工
你直接一点，给我退钱
希望你们客服态度热情一点
你们的客服能不能亲切点
包装温柔一点，上次都碎了
客服说话热情点就更好了
我不喜欢等
我不喜欢等太久
我不喜欢被骗
我讨厌等快递
我不喜欢机器人
我讨厌跟机器人说话
我不喜欢上次买的那件
我最讨厌的就是你们的服务
我不喜欢那个味道
我不喜欢香菜，帮我换一份
我不喜欢，要退
我很讨厌这样的态度
我不喜欢收到推销短信
我不喜欢广告
我讨厌推销电话
我不喜欢客服的态度
我不喜欢想换个颜色
我不吃你这套
我不吃了退款吧
我不喝了
我不吃亏
我不吃猪肉，这个订单帮我取消
我不喝咖啡了给我换成茶
我对你们的服务过敏
我对买的面霜过敏了
我对上次买的面霜过敏
我对收到的那瓶面膜过敏，要赔偿
以后快递能不能快点
以后快递什么时候能准时
以后别放快递柜了，我的包裹又丢了
以后不要再放鸽子
记得放假前发货
记得把快递单号发我
记得快递到了通知我
记得快递发顺丰
以后送货上门要加钱
以后包裹再破就投诉
记得给我退款
记住我会投诉你们的
记住我的手机号
请记住我的收货地址
帮我记一下我要退货
帮我记一下我的订单号
记一下我的发票抬头
请记住我还没收到货
记住我们的约定
记住我是你们的老客户
记得我要开发票
记得我喜欢什么吗
你记得我的订单吗
你还记得我吗
你们记得我的地址吗
我喜欢这个
我爱你们的茶
我习惯用支付宝付款
我是会员
我是学生有优惠吗
我吃素可以买哪些
这个糖尿病人能吃吗
谢谢你记得我
where is my order
I forgot my password
don't remember the code
don't remember which email I used
don't remember my order number
forget it, I'll buy elsewhere
Forget about the refund, I want an exchange
forget about the return
forget my data
forget all my data
forget my personal information
forget my email address
forget my phone number
forget the delivery, I will pick it up
Forget the coupon
never mind
I don't like the colour
I don't like the taste
I don't like it anymore, send it back
I hate waiting
I hate when parcels are late
I really dislike your app
I don't like talking to bots
I hate robots
I don't like how I was treated
I don't like spam
i don't like marketing emails
I don't like my new shoes
I don't like being lied to
I don't drink it
I don't eat that, take it back
I never drink the coffee you sent
I'm allergic to your cream
I'm allergic to something in the cream
I'm allergic to the cream I bought
I am allergic to it
I have a bad allergy
I have an allergy
always deliver late
Always send the wrong item
always send me the wrong size
remember to send my refund
remember to call me back
please remember to send the invoice
please note that I have not received my refund
please note that my parcel is missing
Remember that I want a refund
note that i will complain
remember that my address has changed
Please note that I paid twice
from now on, send me an invoice with every order
please remember that I ordered two
is there a shorter answer
will the delivery be short
the sleeves must be short and the collar too
your staff should be friendlier to customers
can your couriers be nicer
be nice to get a discount
it would be warm enough for winter
I want to keep it short sleeved
do you remember my last order
what do you sell
I am vegan, what can I buy
I'm vegetarian, is this for me
do you have food for diabetics
I love your shop
i like this
忘记了
忘了
记住我说的话
帮我记一下我在催单
你记得我哪些订单
我讨厌预售
我不喜欢包装
我不吃过期的
I have a question about allergy
I hate my life
keep it warm
please note that my name is misspelled
please remember that I asked first
forget everything and refund me
forget everything else, where is it
forget what I said about the return
forget my last message
""".strip().splitlines()

MEANT_FOR_THE_MEMORY = """
我对坚果过敏|note
我对海鲜会过敏|note
请记住我对青霉素过敏|note
记一下，我对猫毛过敏|note
我是对芒果过敏的|note
我吃素|note
我是吃素的|note
我是素食主义者|note
我不吃辣|note
我不吃猪肉|note
我不喝咖啡|note
记住我不吃香菜|note
我不喜欢香菜|note
我特别讨厌榴莲|note
我很不喜欢甜的|note
记住我喜欢无糖的|note
请记住我只喝乌龙茶|note
记得我习惯用大杯|note
以后快递放门口|note
以后包裹放前台|note
记住送货前打电话|note
以后快递都放驿站|note
以后送货请在晚上七点以后|note
记得包裹放在物业那里|note
请你记住我家孩子对牛奶过敏|note
帮我记一下我有两只猫|note
记住我左撇子|note
I'm allergic to nuts|note
I am severely allergic to peanuts!|note
Please remember I'm allergic to shellfish.|note
I have a peanut allergy|note
I have a severe nut allergy|note
I'm vegan|note
I am a vegetarian|note
I'm lactose intolerant|note
I don't eat pork|note
I never drink coffee|note
I don't like coriander|note
I hate liquorice|note
remember that I prefer green tea|note
please remember I only drink decaf|note
always leave parcels with the neighbour|note
from now on leave it at the front door|note
please always ring the bell twice|note
please remember that my dog is called Max|note
remember that I have two cats|note
对坚果过敏，麻烦记一下|note
麻烦帮我记一下，我对坚果过敏|note
我喜欢硬一点的枕头，记一下|note
以后快递放门口，麻烦备注一下|note
I'm allergic to nuts, please remember that|note
I like firm pillows, please note|note
remember: I'm allergic to peanuts|note
忘掉它|forget
忘了吧|forget
忘掉我对坚果过敏这件事|forget
忘记我对坚果过敏|forget
忘了我说的快递放门口|forget
别再记着我不吃香菜|forget
忘掉香菜的事|forget
请忘掉所有的事|forget
忘掉你记住的全部|forget
删掉你记得的全部|forget
forget it|forget
forget that|forget
please forget that I'm allergic to nuts|forget
forget what I told you|forget
forget everything|forget
don't remember that|forget
stop remembering my dog|forget
你记得我什么|recall
你都记住了我哪些事？|recall
What do you remember about me?|recall
说话简短一点|tone
请你回答得简洁些|tone
简短点|tone
别那么啰嗦|tone
少说废话|tone
热情一点|tone
语气亲切一点好吗|tone
请别那么冷淡|tone
please be brief|tone
keep it short|tone
shorter answers please|tone
please get to the point|tone
be a bit friendlier|tone
""".strip().splitlines()


@pytest.mark.parametrize("text", SAYS_SOMETHING_ELSE)
def test_what_is_about_something_else_is_left_alone(text: str) -> None:
    assert wish_in(text) is None


@pytest.mark.parametrize("line", MEANT_FOR_THE_MEMORY)
def test_what_is_meant_for_the_memory_is_taken(line: str) -> None:
    text, do = line.split("|")
    wish = wish_in(text)
    assert wish is not None and wish.do == do


@pytest.mark.parametrize(("fact", "what"), [
    ("tea", "I like steak"), ("nuts", "about doughnuts"), ("不喝咖啡", "我不喝牛奶"),
    ("egg", "my allergy to eggplant")])
def test_forgetting_one_thing_spares_another(fact: str, what: str) -> None:
    assert is_about(fact, what) is False
