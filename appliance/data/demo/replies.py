"""The support desk's replies for the preference pairs of the demo task.

Chosen: what happens next and when, calmly. Rejected: one of four bad habits (blame, vagueness,
a promise without a step, too many apologies). Both have two or three sentences, so that length
says nothing about which is which.
"""

from __future__ import annotations

OPENERS = (
    "Thanks for the details.",
    "Thank you for reporting this.",
    "Your ticket is with us.",
    "Thanks, that is clear.",
    "We have read your message.",
    "Thank you for writing.",
    "Noted, and thanks.",
    "Good that you told us.",
)

# The next step in each queue: for a fault, and for a question or wish.
STEPS = {
    "access": (
        "Our identity team is checking the sign-in records",
        "The account team is going through the rights of the accounts concerned",
        "A colleague from access management is testing the login with a spare account",
        "We are comparing the permissions with those of last week",
        "The account team is following one sign-in from start to end",
    ),
    "billing": (
        "Our billing team is comparing the booking with the contract",
        "An accountant is going through the payment record now",
        "We have put the amount on hold while accounting checks it",
        "Accounting is tracing the payment with the bank",
        "A billing colleague is checking the invoice line by line",
    ),
    "hardware": (
        "A technician is bringing a replacement device to your desk",
        "We have set a spare device aside and a technician is on the way",
        "Our workshop is testing the same model to find the fault",
        "A technician is coming to swap the broken part",
        "The hardware team is getting a loan device ready",
    ),
    "network": (
        "The network team is measuring the line from both ends",
        "An engineer is checking the switch that serves your floor",
        "We are moving your traffic to the second line",
        "A network engineer is reading the logs of the gateway",
        "Our network team is tracing the connection step by step",
    ),
    "shipping": (
        "Our shipping desk is calling the carrier",
        "We have opened a trace with the courier",
        "The warehouse is checking whether the goods are still on the shelf",
        "The shipping team is asking the depot for the last scan",
        "A shipping colleague is preparing a second delivery in case it is needed",
    ),
    "software": (
        "The application team is reproducing the error on a test machine",
        "An engineer is going back to the previous version on one machine",
        "We are reading the error log of the program",
        "The software team is checking what the last update changed",
        "A specialist is testing the program with a fresh profile",
    ),
}
ANSWERS = {
    "access": (
        "The account team is writing down the steps for you",
        "Access management is asking the owner of the folder or account for approval",
        "We are checking which rights this needs",
    ),
    "billing": (
        "The billing team is looking up your contract and its options",
        "Accounting is putting together an answer with the figures",
        "We are checking with accounting what your plan allows",
    ),
    "hardware": (
        "The hardware team is looking up what is in stock",
        "We are checking which models fit your workplace",
        "A technician is writing a short answer with the options",
    ),
    "network": (
        "The network team is checking what this would need on your floor",
        "An engineer is writing down the steps for you",
        "We are asking the network planners whether the rules allow it",
    ),
    "shipping": (
        "The shipping desk is asking the carrier for the options and prices",
        "We are checking with the warehouse what can be arranged",
        "A shipping colleague is putting the steps together for you",
    ),
    "software": (
        "The application team is checking whether your version can do it",
        "We are looking for the guide and adding screenshots",
        "A specialist is writing down the steps for you",
    ),
}
WHEN_NEXT = {
    "everyone": (
        "and you get the next update in thirty minutes.",
        "and we call you within the hour.",
        "and we report to you every half hour until it is solved.",
        "and the incident lead phones you in twenty minutes.",
        "and we write again by the full hour, also if it takes longer.",
    ),
    "one": (
        "and we get back to you within two hours.",
        "and you hear from us before noon or, at the latest, by three o'clock.",
        "and we call you this afternoon with the result.",
        "and we write to you again before the end of the day.",
        "and you get a call within ninety minutes.",
    ),
    "none": (
        "and you get an answer by Thursday.",
        "and we reply within three working days.",
        "and we send you the answer by mail this week.",
        "and you hear from us on Friday at the latest.",
        "and we come back to you early next week.",
    ),
}
# One in five replies ends with one of these.
NOTES = (
    "There is nothing you need to do.",
    "Until then you need not send anything else.",
    "If something changes, just reply to this mail.",
)

# What each queue's bad replies call the matter.
MATTER = {
    "access": ("logins", "accounts", "passwords"),
    "billing": ("invoices", "payments", "bills"),
    "hardware": ("devices", "computers", "machines"),
    "network": ("connections", "networks", "lines"),
    "shipping": ("parcels", "deliveries", "shipments"),
    "software": ("programs", "apps", "applications"),
}
BAD_START = {
    "blame": (
        "You must have done something wrong, since our {matter} work for other people.",
        "This usually happens when people do not read the instructions for {matter}.",
        "Did you even check it yourself before you wrote to us about {matter}?",
        "We have explained {matter} to your department before, so this should not be new to you.",
        "Problems with {matter} are nearly always caused by the person who complains.",
    ),
    "vague": (
        "Issues with {matter} can have many reasons and it is hard to say anything.",
        "Somebody may look at {matter} at some point, depending on a few things.",
        "We know about several topics around {matter} and yours could be one of them.",
        "Your message about {matter} has been seen and will perhaps be passed on.",
        "With {matter} one never knows, sometimes such things go away again.",
    ),
    "promise": (
        "Do not worry at all, we always make {matter} work perfectly for everyone!",
        "Consider it done, our {matter} are the best there are!",
        "We guarantee that you will never have to think about {matter} again!",
        "Everything about {matter} will be great again in no time, trust us!",
        "No problem whatsoever, {matter} are really easy for our experts!",
    ),
    "apologies": (
        "We are so very, very sorry, this about {matter} is absolutely terrible of us!",
        "Please, please forgive us, we are deeply ashamed of our {matter}!",
        "Oh no, we cannot apologize enough for these awful {matter}!",
        "A thousand apologies, we feel dreadful that {matter} have let you down so badly!",
        "Sorry, sorry, sorry, you deserve so much better {matter} than ours!",
    ),
}
BAD_END = {
    "blame": (
        "Please be more careful and try again.",
        "Ask a colleague who knows how it is done.",
        "We cannot fix what users break by themselves.",
        "Next time think first and write afterwards.",
        "Read the manual once more and then decide whether you still need us.",
    ),
    "vague": (
        "We will see what can be done.",
        "Maybe try again later and see how it goes.",
        "Someone might get in touch when there is news.",
        "It should sort itself out sooner or later, or perhaps it will not.",
        "Other teams could be involved, we are not sure.",
    ),
    "promise": (
        "You will be delighted, that is a promise.",
        "Just lean back, it will all be fine very soon.",
        "Nothing can go wrong with us on your side.",
        "We have never failed a customer and never will.",
        "Soon you will laugh about it.",
    ),
    "apologies": (
        "We really do not know how to make up for it, sorry again.",
        "We are heartbroken and hope you can pardon us one day.",
        "Words fail us, we are truly and endlessly sorry.",
        "Please accept our humblest apologies once more, and then once more.",
        "We hope that you do not hate us now, sorry.",
    ),
}
# Two in five bad replies go on like this.
BAD_MORE = {
    "blame": (
        "We have more important tickets than this one.",
        "Others manage without our help.",
        "Maybe a training course would help you.",
    ),
    "vague": (
        "It is hard to tell how long such things take.",
        "We will let you know if there is something to know.",
        "Things like this depend on many factors.",
    ),
    "promise": (
        "Everything will be better than ever before.",
        "You are in the very best hands with us.",
        "We solve all problems, always, and at once.",
    ),
    "apologies": (
        "Sorry again, and sorry for this long mail too.",
        "This should never, ever have happened to you.",
        "We feel so bad about the trouble you have.",
    ),
}
